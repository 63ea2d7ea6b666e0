// The workbook, and the queries that the workspace keeps: those that the workbook shows, and more.

param location string
param tags object
param workspaceName string
param identityPrincipalId string

var queries = [
  { name: 'failing', title: 'Failing requests over time', query: loadTextContent('queries/failing.kql') }
  { name: 'outcomes', title: 'Outcomes per sweep', query: loadTextContent('queries/outcomes.kql') }
  { name: 'attempts', title: 'Attempts until delivered', query: loadTextContent('queries/attempts.kql') }
  { name: 'closing', title: 'Requests that need a person', query: loadTextContent('queries/closing.kql') }
  { name: 'refusals', title: 'Why requests were not accepted', query: loadTextContent('queries/refusals.kql') }
  { name: 'throttling', title: 'Throttling', query: loadTextContent('queries/throttling.kql') }
  { name: 'callers', title: 'Who called', query: loadTextContent('queries/callers.kql') }
  { name: 'turned-away', title: 'Who was turned away, and why', query: loadTextContent('queries/turned-away.kql') }
]
// Kept only: one asks for an id, and the others need the logs of Microsoft Entra in this workspace.
var keptOnly = [
  { name: 'one-id', title: 'Everything about one id', query: loadTextContent('queries/one-id.kql') }
  {
    name: 'graph-calls'
    title: 'What the identity called in Microsoft Graph'
    query: replace(loadTextContent('queries/graph-calls.kql'), '<identity>', identityPrincipalId)
  }
  {
    name: 'why-failed'
    title: 'Why deliveries failed, as Microsoft Entra logs it'
    query: loadTextContent('queries/why-failed.kql')
  }
]

resource workspace 'Microsoft.OperationalInsights/workspaces@2023-09-01' existing = {
  name: workspaceName
}

resource saved 'Microsoft.OperationalInsights/workspaces/savedSearches@2020-08-01' = [
  for query in concat(queries, keptOnly): {
    parent: workspace
    name: 'redeliver-${query.name}'
    etag: '*' // or a second deployment would be refused
    properties: {
      category: 'Redeliver'
      displayName: query.title
      query: query.query
    }
  }
]

// https://learn.microsoft.com/azure/azure-monitor/visualize/workbooks-overview: item 9 is a row of
// parameters (here the time), item 3 is a query; its own `render` says how it is drawn.
var timeRange = {
  type: 9
  name: 'time'
  content: {
    version: 'KqlParameterItem/1.0'
    parameters: [
      {
        version: 'KqlParameterItem/1.0'
        name: 'TimeRange'
        label: 'Time'
        type: 4
        isRequired: true
        value: { durationMs: 604800000 }
        typeSettings: {
          selectableValues: [
            { durationMs: 86400000 }
            { durationMs: 604800000 }
            { durationMs: 2592000000 }
            { durationMs: 7776000000 }
          ]
        }
      }
    ]
  }
}
var charts = [
  for query in queries: {
    type: 3
    name: query.name
    content: {
      version: 'KqlItem/1.0'
      title: query.title
      query: query.query
      size: 0
      timeContextFromParameter: 'TimeRange'
      queryType: 0
      resourceType: 'microsoft.operationalinsights/workspaces'
      crossComponentResources: [workspace.id]
    }
  }
]

resource workbook 'Microsoft.Insights/workbooks@2022-04-01' = {
  name: guid(workspace.id, 'redeliver')
  location: location
  tags: tags
  kind: 'shared'
  properties: {
    displayName: 'Redeliver'
    category: 'workbook'
    sourceId: 'Azure Monitor' // the gallery that administrators open
    serializedData: string({
      version: 'Notebook/1.0'
      items: concat([timeRange], charts)
      fallbackResourceIds: ['Azure Monitor']
    })
  }
}
