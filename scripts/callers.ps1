<#
.SYNOPSIS
Says who may call the app with a token of Microsoft Entra.

.DESCRIPTION
Register makes the app registration and prints its client id; it can be run again, and completes the
registration of that name, also one that was made by hand. Add lets a caller in, Remove shuts it out.
It takes a Cloud Application Administrator. Needs the module Microsoft.Graph.Authentication; the first
time, an administrator has to consent to the scopes that it asks for.

.PARAMETER Name
For Register: the registration's name.

.PARAMETER Url
For Register: the app's URL.

.PARAMETER Client
For Add and Remove: the client id that Register printed.

.PARAMETER Caller
For Add and Remove: object id of a user, a group or a service principal. Of a Logic App, that of its
managed identity.

.PARAMETER Environment
Global, USGov (L4), USGovDoD (L5) or China.
#>
[CmdletBinding()]
param(
    [Parameter(Mandatory)] [ValidateSet('Register', 'Add', 'Remove')] [string] $Action,
    [string] $Name,
    [uri] $Url,
    [Nullable[guid]] $Client,
    [Nullable[guid]] $Caller,
    [ValidateSet('Global', 'USGov', 'USGovDoD', 'China')] [string] $Environment = 'Global'
)
$ErrorActionPreference = 'Stop'
$role = 'Requests.Reprocess' # CALLER_ROLE
$ourRole = @{
    id                 = 'bb931bcf-17ff-43de-87ca-d433f1f5e389'
    value              = $role
    isEnabled          = $true
    allowedMemberTypes = @('Application', 'User')
    displayName        = 'Reprocess requests'
    description        = 'May have failed access package requests reprocessed'
}
$ourScope = @{
    id                      = '3a4c4cb1-5a44-4a55-a2d5-0f7d9a2f5d6b'
    value                   = 'user_impersonation'
    isEnabled               = $true
    type                    = 'User'
    adminConsentDisplayName = 'Call Redeliver'
    adminConsentDescription = 'Lets the application call Redeliver as the signed-in user'
    userConsentDisplayName  = 'Call Redeliver'
    userConsentDescription  = 'Lets the application call Redeliver as you'
}

# Calls Graph.
function Invoke-Graph([string] $Method, [string] $Path, $Body) {
    $more = @{}
    if ($Body) { $more = @{ ContentType = 'application/json'; Body = $Body | ConvertTo-Json -Depth 5 } }
    Invoke-MgGraphRequest -Method $Method -Uri "/v1.0/$Path" @more
}

# Tries again until there is an answer, for two minutes: Entra answers 400 and 404, and lists nothing,
# until what was just made has spread.
function Wait-Graph([scriptblock] $Call) {
    for ($left = 24; ; $left--) {
        try { $answer = & $Call } catch { if ($left -le 0) { throw }; $answer = $null }
        if ($answer) { return $answer }
        if ($left -le 0) { throw 'Entra does not show yet what was made: run this again in some minutes' }
        Start-Sleep -Seconds 5
    }
}

if ($Action -eq 'Register') {
    if (-not $Name -or $Name -notmatch '^[A-Za-z0-9][A-Za-z0-9 ._-]{0,80}$') { throw 'Register needs -Name' }
    if (-not $Url -or $Url.Scheme -ne 'https') { throw 'Register needs -Url, which begins with https://' }
    Connect-MgGraph -NoWelcome -Environment $Environment -Scopes 'Application.ReadWrite.All'
    $byName = "applications?`$filter=displayName eq '$Name'"
    $found = @((Invoke-Graph GET $byName).value)
    if ($found.Count -gt 1) { throw "there is more than one registration called $Name" }
    if (-not $found) {
        $null = Invoke-Graph POST 'applications' @{ displayName = $Name; signInAudience = 'AzureADMyOrg' }
        $found = @(Wait-Graph { (Invoke-Graph GET $byName).value })
    }
    $made = $found[0].appId
    $there = Wait-Graph { Invoke-Graph GET "applications(appId='$made')" }
    if ($there.signInAudience -ne 'AzureADMyOrg') {
        throw "the registration $Name is not for this tenant alone: choose another name"
    }
    # Of a role only what may be written back: Graph takes no `origin`.
    $roles = @($there.appRoles | Where-Object { $_ } | ForEach-Object {
            $one = $_
            $kept = @{}
            foreach ($key in $ourRole.Keys) { $kept[$key] = $one.$key }
            $kept
        })
    if ($roles.value -notcontains $role) { $roles += $ourRole }
    $scopes = @($there.api.oauth2PermissionScopes | Where-Object { $_ })
    if ($scopes.value -notcontains $ourScope.value) { $scopes += $ourScope }
    $callback = $Url.GetLeftPart('Authority') + '/.auth/login/aad/callback'
    $body = @{
        appRoles       = $roles
        identifierUris = @(@($there.identifierUris) + "api://$made" | Where-Object { $_ } | Select-Object -Unique)
        api            = @{ requestedAccessTokenVersion = 2; oauth2PermissionScopes = $scopes }
        web            = @{
            redirectUris          = @(@($there.web.redirectUris) + $callback | Where-Object { $_ } | Select-Object -Unique)
            implicitGrantSettings = @{ enableIdTokenIssuance = $true }
        }
    }
    $null = Wait-Graph { Invoke-Graph PATCH "applications(appId='$made')" $body; $true }
    $byClient = "servicePrincipals?`$filter=appId eq '$made'"
    if (-not (Invoke-Graph GET $byClient).value) {
        $null = Wait-Graph { Invoke-Graph POST 'servicePrincipals' @{ appId = $made }; $true }
        $null = Wait-Graph { (Invoke-Graph GET $byClient).value }
    }
    $null = Wait-Graph {
        Invoke-Graph PATCH "servicePrincipals(appId='$made')" @{ appRoleAssignmentRequired = $true }
        $true
    }
    return $made
}

if (-not $Client -or -not $Caller) { throw "$Action needs -Client and -Caller" }
Connect-MgGraph -NoWelcome -Environment $Environment `
    -Scopes 'AppRoleAssignment.ReadWrite.All', 'Application.Read.All', 'Directory.Read.All'
$owner = Invoke-Graph GET "servicePrincipals(appId='$Client')"
$wanted = ($owner.appRoles | Where-Object { $_.value -eq $role }).id
if (-not $wanted) { throw "the registration $Client has no app role ${role}: run Register with its name" }
if ((Invoke-Graph GET "applications(appId='$Client')").api.requestedAccessTokenVersion -ne 2) {
    Write-Warning 'The registration issues tokens of version 1, which the app refuses: run Register with its name.'
}
$kind = (Invoke-Graph GET "directoryObjects/$Caller").'@odata.type' -replace '^#microsoft\.graph\.'
if ($kind -notin 'user', 'group', 'servicePrincipal') { throw "$Caller is no user, group or service principal" }
$assignments = "${kind}s/$Caller/appRoleAssignments"
$assigned = (Invoke-Graph GET "${assignments}?`$filter=resourceId eq $($owner.id)").value |
    Where-Object { $_.resourceId -eq $owner.id -and $_.appRoleId -eq $wanted }
if ($Action -eq 'Add' -and -not $assigned) {
    $null = Invoke-Graph POST $assignments @{ principalId = "$Caller"; resourceId = $owner.id; appRoleId = $wanted }
}
if ($Action -eq 'Remove' -and $assigned) {
    $null = Invoke-Graph DELETE "$assignments/$($assigned.id)"
}
"${Action}: done. Tokens that the caller got before stay as they are, for up to a day."
