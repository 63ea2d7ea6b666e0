// The managed identity of the app: a new one, or one that exists already.
// Not for: what it may do (storage.bicep, monitoring.bicep; in Microsoft Graph: scripts/permission).

param name string
param location string
param tags object
@description('Resource id of the identity to use. Empty: make one.')
param identityId string

resource made 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' = if (empty(identityId)) {
  name: name
  location: location
  tags: tags
}

output id string = empty(identityId) ? made.id : identityId
output clientId string = empty(identityId) ? made!.properties.clientId : reference(identityId, '2024-11-30').clientId
output principalId string = empty(identityId)
  ? made!.properties.principalId
  : reference(identityId, '2024-11-30').principalId
