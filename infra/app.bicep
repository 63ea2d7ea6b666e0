// The function app on a Flex Consumption plan: how it runs, its settings, who may call it.

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
@description('App settings that replace the defaults below.')
param settings object

// Calls that one instance takes at once, and the threads that serve them: one number for both, or
// calls wait where no time limit counts.
var callsAtOnce = 16

// What the Functions host and Python's worker read.
var hostSettings = {
  AzureWebJobsStorage__credential: 'managedidentity'
  AzureWebJobsStorage__clientId: identityClientId
  AzureWebJobsStorage__blobServiceUri: blobEndpoint
  AzureWebJobsStorage__tableServiceUri: tableEndpoint
  APPLICATIONINSIGHTS_CONNECTION_STRING: insightsConnection
  APPLICATIONINSIGHTS_AUTHENTICATION_STRING: 'ClientId=${identityClientId};Authorization=AAD'
  PYTHON_THREADPOOL_THREAD_COUNT: string(callsAtOnce)
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

// The rest, with the app's own defaults; the parameter `settings` replaces them.
var defaultSettings = {
  GRAPH_API_VERSION: 'v1.0'
  GRAPH_REQUESTS_PATH: 'assignmentRequests'
  GRAPH_BATCH_SIZE: '20'
  GRAPH_CONCURRENCY: '8'
  CALLER_ROLE: 'Requests.Reprocess'
  WEBHOOK_REQUEST_ID_POINTER: '/requestId'
  HTTP_BUDGET_SECONDS: '60'
  STATUS_RETRY_AFTER_SECONDS: '30'
  STATUS_LINK_HOURS: '24'
  SWEEP_WINDOW_DAYS: '14'
  SWEEP_MIN_AGE_MINUTES: '15'
  SWEEP_COOLDOWN_MINUTES: '60'
  SWEEP_COOLDOWN_MAX_MINUTES: '1440'
  SWEEP_MAX_ATTEMPTS: '20'
  SWEEP_MAX_REQUESTS: '10000'
  SWEEP_BUDGET_SECONDS: '1500'
  ATTEMPTS_TABLE: 'reprocessAttempts'
  NOTIFY_FORMAT: 'cloudevents'
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
    properties: union(defaultSettings, settings, decidedSettings, hostSettings)
  }

  // Callers show a token of the organisation's own Microsoft Entra tenant, and the app looks for the
  // app role in it. The excluded paths check a signature for themselves, or hold nothing to protect.
  resource authentication 'config' = {
    name: 'authsettingsV2'
    dependsOn: [appSettings]
    properties: empty(authClientId) ? { platform: { enabled: false } } : {
      platform: { enabled: true }
      globalValidation: {
        requireAuthentication: true
        unauthenticatedClientAction: 'Return401'
        excludedPaths: ['/api/status/*', '/api/webhook', '/api/health', '/api/report']
      }
      identityProviders: {
        azureActiveDirectory: {
          enabled: true
          registration: {
            clientId: authClientId
            openIdIssuer: '${environment().authentication.loginEndpoint}${tenant().tenantId}/v2.0'
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

output name string = app.name
output url string = 'https://${app.properties.defaultHostName}'
