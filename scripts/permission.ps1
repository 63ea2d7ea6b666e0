<#
.SYNOPSIS
Gives the app's identity what it needs in Microsoft Graph, or takes it away.

.DESCRIPTION
Without -Catalog: the application permission EntitlementManagement.ReadWrite.All, everywhere. It
takes a Privileged Role Administrator.
With -Catalog: the role Access package assignment manager in each of these catalogs. It takes an
Identity Governance Administrator.
Needs the module Microsoft.Graph.Authentication; the first time, an administrator has to consent to the
scopes that it asks for.

.PARAMETER Identity
Object id of the identity.

.PARAMETER Environment
Global, USGov (L4), USGovDoD (L5) or China.
#>
[CmdletBinding()]
param(
    [Parameter(Mandatory)] [ValidateSet('Add', 'Remove')] [string] $Action,
    [Parameter(Mandatory)] [guid] $Identity,
    [guid[]] $Catalog = @(),
    [ValidateSet('Global', 'USGov', 'USGovDoD', 'China')] [string] $Environment = 'Global'
)
$ErrorActionPreference = 'Stop'
$graphApp = '00000003-0000-0000-c000-000000000000'  # Microsoft Graph
$reprocess = '9acd699f-1e81-4958-b001-93b1d2506e19' # EntitlementManagement.ReadWrite.All
$manager = 'e2182095-804a-4656-ae11-64734e9b7ae5'   # Access package assignment manager
$roles = '/v1.0/roleManagement/entitlementManagement/roleAssignments'

if ($Catalog) {
    Connect-MgGraph -NoWelcome -Environment $Environment -Scopes 'EntitlementManagement.ReadWrite.All'
    $held = (Invoke-MgGraphRequest -Uri "${roles}?`$filter=principalId eq '$Identity'").value
    foreach ($one in $Catalog) {
        $scope = "/AccessPackageCatalog/$one"
        $assigned = $held | Where-Object { $_.roleDefinitionId -eq $manager -and $_.appScopeId -eq $scope }
        if ($Action -eq 'Add' -and -not $assigned) {
            $body = @{ principalId = "$Identity"; roleDefinitionId = $manager; appScopeId = $scope }
            $null = Invoke-MgGraphRequest -Method POST -Uri $roles -Body $body
        }
        if ($Action -eq 'Remove' -and $assigned) {
            Invoke-MgGraphRequest -Method DELETE -Uri "$roles/$($assigned.id)"
        }
        "${Action}: done for catalog $one"
    }
}
else {
    Connect-MgGraph -NoWelcome -Environment $Environment `
        -Scopes 'AppRoleAssignment.ReadWrite.All', 'Application.Read.All'
    $owner = (Invoke-MgGraphRequest -Uri "/v1.0/servicePrincipals(appId='$graphApp')").id
    $assignments = "/v1.0/servicePrincipals/$Identity/appRoleAssignments"
    $assigned = (Invoke-MgGraphRequest -Uri $assignments).value |
        Where-Object { $_.resourceId -eq $owner -and $_.appRoleId -eq $reprocess }
    if ($Action -eq 'Add' -and -not $assigned) {
        $body = @{ principalId = "$Identity"; resourceId = $owner; appRoleId = $reprocess }
        $null = Invoke-MgGraphRequest -Method POST -Uri $assignments -Body $body
    }
    if ($Action -eq 'Remove' -and $assigned) {
        Invoke-MgGraphRequest -Method DELETE -Uri "$assignments/$($assigned.id)"
    }
    "${Action}: done. Tokens that the identity got before stay as they are, for up to a day."
}
