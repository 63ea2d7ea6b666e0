// An identity that exists already, which has a role on catalogs; so the access packages are named.
using '../main.bicep'

param environmentName = 'redeliver'
param location = 'westeurope'
param identityId = '/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg-identities/providers/Microsoft.ManagedIdentity/userAssignedIdentities/redeliver'
param sweepAccessPackages = '00000000-0000-0000-0000-000000000000'
