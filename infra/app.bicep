// The function app on a Flex Consumption plan: how it runs, its settings, who may call it.
// Not for: the app's defaults (settings.py). A setting that is not set here has its own.

param name string
param location string
param tags object
param identityId string
param identityClientId string
param blobEndpoint string
param tableEndpoint string
param packageContainer string
param insightsConnection string
@description('Subnet of the app. Empty: no virtual network.')
param subnetId string
param graphCloud string
param sweepSchedule string
param sweepDryRun bool
param sweepAccessPackages string
param authClientId string
param allowedApplications array
@secure()
param webhookSecrets string
@secure()
param statusLinkSecret string
@secure()
param notifyUrl string
@description('Other app settings by name.')
param settings object

// Calls that one instance takes at once, and the threads that serve them: one number for both, or
// calls wait where no time limit counts.
var callsAtOnce = 16

// China's own name; the platform knows only an alias of it.
// https://learn.microsoft.com/entra/identity-platform/authentication-national-cloud
var platformLogin = environment().authentication.loginEndpoint
var loginEndpoint = graphCloud == 'china' ? 'https://login.partner.microsoftonline.cn' : platformLogin

// What the Functions host and Python's worker read.
var hostSettings = {
  AzureWebJobsStorage__credential: 'managedidentity'
  AzureWebJobsStorage__clientId: identityClientId
  AzureWebJobsStorage__blobServiceUri: blobEndpoint
  AzureWebJobsStorage__tableServiceUri: tableEndpoint
  APPLICATIONINSIGHTS_CONNECTION_STRING: insightsConnection
  APPLICATIONINSIGHTS_AUTHENTICATION_STRING: 'ClientId=${identityClientId};Authorization=AAD'
  PYTHON_THREADPOOL_THREAD_COUNT: string(callsAtOnce)
  FUNCTIONS_REQUEST_BODY_SIZE_LIMIT: '2097152' // bytes, above the 1 MiB at which the app answers 413
}

// What is decided in main.bicep.
var decidedSettings = {
  AZURE_CLIENT_ID: identityClientId
  GRAPH_CLOUD: graphCloud
  HTTP_AUTH_LEVEL: empty(authClientId) ? 'function' : 'anonymous'
  SWEEP_SCHEDULE: sweepSchedule
  SWEEP_DRY_RUN: sweepDryRun ? 'true' : 'false'
  SWEEP_ACCESS_PACKAGES: sweepAccessPackages
  WEBHOOK_SECRETS: webhookSecrets
  STATUS_LINK_SECRET: statusLinkSecret
  NOTIFY_URL: notifyUrl
}

resource plan 'Microsoft.Web/serverfarms@2024-04-01' = {
  name: name
  location: location
  tags: tags
  kind: 'functionapp'
  sku: { name: 'FC1', tier: 'FlexConsumption' }
  properties: { reserved: true }
}

resource app 'Microsoft.Web/sites@2024-04-01' = {
  name: name
  location: location
  tags: union(tags, { 'azd-service-name': 'app' })
  kind: 'functionapp,linux'
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: { '${identityId}': {} }
  }
  properties: {
    serverFarmId: plan.id
    httpsOnly: true
    keyVaultReferenceIdentity: identityId
    virtualNetworkSubnetId: empty(subnetId) ? null : subnetId
    siteConfig: { minTlsVersion: '1.2' }
    // Closes /admin to the internet; Azure Resource Manager still reaches it. The types lack it:
    // https://learn.microsoft.com/azure/azure-functions/functions-app-settings#functionsruntimeadminisolationenabled
    #disable-next-line BCP037
    functionsRuntimeAdminIsolationEnabled: true
    functionAppConfig: {
      runtime: { name: 'python', version: '3.13' }
      deployment: {
        storage: {
          type: 'blobContainer'
          value: '${blobEndpoint}${packageContainer}'
          authentication: {
            type: 'UserAssignedIdentity'
            userAssignedIdentityResourceId: identityId
          }
        }
      }
      scaleAndConcurrency: {
        instanceMemoryMB: 2048
        maximumInstanceCount: 40
        triggers: { http: { perInstanceConcurrency: callsAtOnce } }
      }
    }
  }

  resource appSettings 'config' = {
    name: 'appsettings'
    properties: union(settings, decidedSettings, hostSettings)
  }

  // Callers show a token of the organisation's own Microsoft Entra tenant, and the app looks for the
  // app role in it. The excluded paths check a signature for themselves, or hold nothing to protect.
  // They have no wildcard: the host resolves dot segments before it routes, so /api/status/../requests
  // would be the list.
  resource authentication 'config' = {
    name: 'authsettingsV2'
    dependsOn: [appSettings]
    properties: empty(authClientId)
      ? { platform: { enabled: false } }
      : {
          platform: { enabled: true }
          globalValidation: {
            requireAuthentication: true
            unauthenticatedClientAction: 'Return401'
            excludedPaths: ['/api/status', '/api/webhook', '/api/health', '/api/report']
          }
          identityProviders: {
            azureActiveDirectory: {
              enabled: true
              registration: {
                clientId: authClientId
                openIdIssuer: uri(loginEndpoint, '${tenant().tenantId}/v2.0')
              }
              validation: {
                allowedAudiences: [authClientId]
                defaultAuthorizationPolicy: { allowedApplications: allowedApplications }
              }
            }
          }
          login: { tokenStore: { enabled: false } }
        }
  }

  // No password can deploy, only a token of Microsoft Entra.
  resource deployPassword 'basicPublishingCredentialsPolicies' = {
    name: 'scm'
    dependsOn: [authentication]
    properties: { allow: false }
  }

  resource ftpPassword 'basicPublishingCredentialsPolicies' = {
    name: 'ftp'
    dependsOn: [deployPassword]
    properties: { allow: false }
  }
}

output id string = app.id
output name string = app.name
output url string = 'https://${app.properties.defaultHostName}'
