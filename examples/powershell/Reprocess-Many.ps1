#Requires -Version 7.0
<#
.SYNOPSIS
Has many requests reprocessed in one call: those named, or all that fail for one cause.
.DESCRIPTION
Set REDELIVER_URL (https://<app>.azurewebsites.net) and REDELIVER_KEY (a function key) first.
Returns a result for each request, and waits for no delivery; throws the detail of a problem.
.EXAMPLE
./Reprocess-Many.ps1 -Cause 5304fd173794 -DryRun
.EXAMPLE
./Reprocess-Many.ps1 -RequestId (Get-Content ids.txt) | Where-Object problem
#>
param(
    [Parameter(Mandatory, ParameterSetName = 'Ids')] [ValidateCount(1, 1000)] [guid[]] $RequestId,
    [Parameter(Mandatory, ParameterSetName = 'Cause')] [ValidatePattern('^[0-9a-f]{12}$')] [string] $Cause,
    [switch] $DryRun
)
$ErrorActionPreference = 'Stop'
if (-not $env:REDELIVER_URL -or -not $env:REDELIVER_KEY) {
    throw 'REDELIVER_URL and REDELIVER_KEY should be set'
}

function Get-Answer([hashtable] $Call) {
    $headers = @{ 'x-functions-key' = $env:REDELIVER_KEY }
    $answer = Invoke-WebRequest @Call -Headers $headers -SkipHttpErrorCheck -TimeoutSec 90
    # A problem's content type is not JSON's own, so the content may come as bytes.
    $text = if ($answer.Content -is [byte[]]) { [Text.Encoding]::UTF8.GetString($answer.Content) } else { $answer.Content }
    if ($answer.StatusCode -eq 200) { return $text | ConvertFrom-Json }
    if (-not $text) { throw "$($answer.StatusCode): the Functions host refused the call; check the function key" }
    # What stands in front of the app may answer with text or HTML.
    try { $problem = $text | ConvertFrom-Json } catch { throw "$($answer.StatusCode): $text" }
    throw "$($problem.type): $($problem.detail) (correlation id $($problem.instance))"
}

$ids = if ($Cause) {
    @((Get-Answer @{ Uri = "$env:REDELIVER_URL/api/requests?cause=$Cause&limit=1000" }).value.requestId)
} else {
    @($RequestId | ForEach-Object { "$_" })
}
if (-not $ids) { return } # no request fails for this cause
$body = ConvertTo-Json @{ requestIds = $ids; dryRun = [bool] $DryRun }
$call = @{ Method = 'Post'; Uri = "$env:REDELIVER_URL/api/requests/reprocess"; Body = $body; ContentType = 'application/json' }
(Get-Answer $call).results
