// Redeliver in a subscription of yours: one resource group with all that the app needs.
// What an organisation decides is a parameter. docs/deploy.md says how to set each.
// Not for: permissions in Microsoft Entra (scripts/permission, scripts/callers).
targetScope = 'subscription'

@minLength(1)
@maxLength(40)
@description('Name of the azd environment. The resource group is called rg-<this name>.')
param environmentName string

@minLength(1)
@description('Region of all resources. It must have Flex Consumption.')
@metadata({ azd: { type: 'location' } })
param location string

@allowed(['global', 'usgov', 'usgov-dod', 'china'])
@description('Cloud of the Microsoft Entra tenant.')
param graphCloud string = 'global'

@description('When to sweep: NCRONTAB with six fields, UTC. Empty: the default of the app.')
param sweepSchedule string = ''

@description('true: sweeps report what they would do, and change nothing.')
param sweepDryRun bool = true

@description('Ids of access packages, comma separated: sweep these only. Needed with catalog roles.')
param sweepAccessPackages string = ''

@description('Resource id of a user-assigned identity that exists. Empty: a new one is made.')
param identityId string = ''

@description('Client id of the app registration of scripts/callers. Empty: callers need a function key.')
param authClientId string = ''

@description('Client ids of the applications that may call. Empty: any that has the app role.')
param allowedApplications array = []

@description('E-mail address that alerts are sent to. Empty: they are only shown in Azure Monitor.')
param alertEmail string = ''

@allowed(['public', 'private'])
@description('private: the storage account is reached from a virtual network only.')
param network string = 'public'

@secure()
@description('Reference to the webhook secrets in a key vault. Empty: webhooks are not signed.')
param webhookSecrets string = ''

@secure()
@description('Reference to the secret of status links in a key vault. Empty: there are no such links.')
param statusLinkSecret string = ''

@secure()
@description('Address that notices are sent to, or a reference to it in a key vault.')
param notifyUrl string = ''

@description('Other app settings by name. They replace the defaults of the app.')
param settings object = {}

var token = uniqueString(subscription().id, environmentName, location)
var tags = { 'azd-env-name': environmentName }

resource group 'Microsoft.Resources/resourceGroups@2024-03-01' = {
  name: 'rg-${environmentName}'
  location: location
  tags: tags
}

module identity 'identity.bicep' = {
  name: 'identity'
  scope: group
  params: {
    name: 'redeliver-${token}'
    location: location
    tags: tags
    identityId: identityId
  }
}

module storage 'storage.bicep' = {
  name: 'storage'
  scope: group
  params: {
    name: 'redeliver${token}'
    location: location
    tags: tags
    identityPrincipalId: identity.outputs.principalId
    isPrivate: network == 'private'
  }
}

module vnet 'network.bicep' = if (network == 'private') {
  name: 'network'
  scope: group
  params: {
    name: 'redeliver-${token}'
    location: location
    tags: tags
    storageId: storage.outputs.id
  }
}

module monitoring 'monitoring.bicep' = {
  name: 'monitoring'
  scope: group
  params: {
    name: 'redeliver-${token}'
    location: location
    tags: tags
    identityPrincipalId: identity.outputs.principalId
  }
}

module app 'app.bicep' = {
  name: 'app'
  scope: group
  params: {
    name: 'redeliver-${token}'
    location: location
    tags: tags
    identityId: identity.outputs.id
    identityClientId: identity.outputs.clientId
    blobEndpoint: storage.outputs.blobEndpoint
    tableEndpoint: storage.outputs.tableEndpoint
    packageContainer: storage.outputs.packageContainer
    insightsConnection: monitoring.outputs.insightsConnection
    subnetId: network == 'private' ? vnet!.outputs.appSubnetId : ''
    graphCloud: graphCloud
    sweepSchedule: sweepSchedule
    sweepDryRun: sweepDryRun
    sweepAccessPackages: sweepAccessPackages
    authClientId: authClientId
    allowedApplications: allowedApplications
    webhookSecrets: webhookSecrets
    statusLinkSecret: statusLinkSecret
    notifyUrl: notifyUrl
    settings: settings
  }
}

module alerts 'alerts.bicep' = {
  name: 'alerts'
  scope: group
  params: {
    location: location
    tags: tags
    workspaceId: monitoring.outputs.workspaceId
    alertEmail: alertEmail
    appUrl: app.outputs.url
  }
}

module workbook 'workbook.bicep' = {
  name: 'workbook'
  scope: group
  params: {
    location: location
    tags: tags
    workspaceName: monitoring.outputs.workspaceName
    identityPrincipalId: identity.outputs.principalId
  }
}

// azd keeps these in its environment, where docs/deploy.md and the scripts find them.
output AZURE_RESOURCE_GROUP string = group.name
output APP_ID string = app.outputs.id
output APP_NAME string = app.outputs.name
output APP_URL string = app.outputs.url
output IDENTITY_OBJECT_ID string = identity.outputs.principalId
output STORAGE_NAME string = storage.outputs.name
