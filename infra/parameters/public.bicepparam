// The least that has to be decided. Sweeps are dry, callers need a function key.
using '../main.bicep'

param environmentName = 'redeliver'
param location = 'westeurope'
param alertEmail = 'on-call@example.org'
