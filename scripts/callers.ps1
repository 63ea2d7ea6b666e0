<#
.SYNOPSIS
Says who may call the app with a token of Microsoft Entra.

.DESCRIPTION
Register makes the app registration and prints its client id. Add lets a caller in, Remove no more.
It takes a Cloud Application Administrator. Needs the module Microsoft.Graph.Authentication.

.PARAMETER Name
For Register: the registration's name.

.PARAMETER Client
For Add and Remove: the client id that Register printed.

.PARAMETER Caller
For Add and Remove: object id of the caller's service principal. Of a Logic App, that is the object
id of its managed identity.

.PARAMETER Environment
Global, USGov (L4), USGovDoD (L5) or China.
#>
[CmdletBinding()]
param(
    [Parameter(Mandatory)] [ValidateSet('Register', 'Add', 'Remove')] [string] $Action,
    [string] $Name,
    [Nullable[guid]] $Client,
    [Nullable[guid]] $Caller,
    [ValidateSet('Global', 'USGov', 'USGovDoD', 'China')] [string] $Environment = 'Global'
)
$ErrorActionPreference = 'Stop'
$role = 'Requests.Reprocess' # CALLER_ROLE
$roleId = 'bb931bcf-17ff-43de-87ca-d433f1f5e389'

if ($Action -eq 'Register') {
    if (-not $Name) { throw 'Register needs -Name' }
    Connect-MgGraph -NoWelcome -Environment $Environment -Scopes 'Application.ReadWrite.All'
    $body = @{
        displayName    = $Name
        signInAudience = 'AzureADMyOrg'
        api            = @{ requestedAccessTokenVersion = 2 }
        appRoles       = @(@{
                id                 = $roleId
                value              = $role
                isEnabled          = $true
                displayName        = 'Reprocess requests'
                description        = 'May have failed access package requests reprocessed'
                allowedMemberTypes = @('Application', 'User')
            })
    }
    $made = (Invoke-MgGraphRequest -Method POST -Uri '/v1.0/applications' `
            -ContentType 'application/json' -Body ($body | ConvertTo-Json -Depth 4)).appId
    Invoke-MgGraphRequest -Method PATCH -Uri "/v1.0/applications(appId='$made')" `
        -Body @{ identifierUris = @("api://$made") }
    $null = Invoke-MgGraphRequest -Method POST -Uri '/v1.0/servicePrincipals' `
        -Body @{ appId = $made; appRoleAssignmentRequired = $true }
    return $made
}

if (-not $Client -or -not $Caller) { throw "$Action needs -Client and -Caller" }
Connect-MgGraph -NoWelcome -Environment $Environment `
    -Scopes 'AppRoleAssignment.ReadWrite.All', 'Application.Read.All'
$owner = Invoke-MgGraphRequest -Uri "/v1.0/servicePrincipals(appId='$Client')"
$wanted = ($owner.appRoles | Where-Object { $_.value -eq $role }).id
if (-not $wanted) { throw "the registration $Client has no app role $role" }
$assignments = "/v1.0/servicePrincipals/$Caller/appRoleAssignments"
$assigned = (Invoke-MgGraphRequest -Uri $assignments).value |
    Where-Object { $_.resourceId -eq $owner.id -and $_.appRoleId -eq $wanted }
if ($Action -eq 'Add' -and -not $assigned) {
    $body = @{ principalId = "$Caller"; resourceId = $owner.id; appRoleId = $wanted }
    $null = Invoke-MgGraphRequest -Method POST -Uri $assignments -Body $body
}
if ($Action -eq 'Remove' -and $assigned) {
    Invoke-MgGraphRequest -Method DELETE -Uri "$assignments/$($assigned.id)"
}
"${Action}: done. Tokens that the caller got before stay as they are, for up to a day."
