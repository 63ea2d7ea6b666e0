// China, with storage on a private network, callers with tokens, secrets and settings.
using '../main.bicep'

param environmentName = 'redeliver'
param location = 'chinanorth3'
param graphCloud = 'china'
param network = 'private'
param sweepSchedule = '0 0 * * * *'
param authClientId = '00000000-0000-0000-0000-000000000000'
param allowedApplications = ['00000000-0000-0000-0000-000000000000']
param webhookSecrets = '@Microsoft.KeyVault(SecretUri=https://kv-contoso.vault.azure.cn/secrets/redeliver-webhook)'
param statusLinkSecret = '@Microsoft.KeyVault(SecretUri=https://kv-contoso.vault.azure.cn/secrets/redeliver-link)'
param notifyUrl = '@Microsoft.KeyVault(SecretUri=https://kv-contoso.vault.azure.cn/secrets/redeliver-notices)'
param settings = { SWEEP_COOLDOWN_MINUTES: '120', NOTIFY_FORMAT: 'teams' }
