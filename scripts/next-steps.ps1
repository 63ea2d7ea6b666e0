<#
.SYNOPSIS
Says what comes next after a deployment, by what the app's diagnosis finds. azd runs it (azure.yaml).
#>
$api = 'api-version=2024-04-01'
$keys = "$env:APP_ID/host/default/listkeys?$api"
$key = az rest --method POST --url $keys --query functionKeys.default --output tsv 2>$null
$status = 0
if ($key) {
    try {
        $answer = Invoke-WebRequest -Uri "$env:APP_URL/api/diagnosis" -Headers @{ 'x-functions-key' = $key } `
            -SkipHttpErrorCheck -TimeoutSec 120
        $status = $answer.StatusCode
    }
    catch { $status = 0 }
}
$permission = "scripts/permission.ps1 -Action Add -Identity $env:IDENTITY_OBJECT_ID"
switch ($status) {
    200 { 'The diagnosis finds nothing wrong.' }
    503 {
        'The diagnosis finds:'
        "$($answer.Content)"
        "Next: what each remedy says. The permission: $permission"
    }
    default {
        'The diagnosis could not be asked from here (az not signed in, callers need tokens, or the app is starting).'
        "Next: the permission, where the identity lacks it: $permission"
    }
}
"Then: the page, $env:APP_URL/api/report, and a dry sweep:"
"  az rest --method POST --url `"$env:APP_ID/hostruntime/admin/functions/sweep?$api`" --body '{`"input`": null}'"
'docs/deploy.md says how to read its report, and how to switch it on.'
