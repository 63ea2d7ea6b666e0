// Reads queries with Kusto's language service: what is wrong with each, and what it reads.
//
// Standard input: {"tables": {name: columns}, "queries": {name: text}}.
// Standard output: {name: {"wrong": [text], "texts": [string literal],
//                          "fields": [[field of `line`, function around it]]}}.
"use strict";
const fs = require("fs");
const path = require("path");
const vm = require("vm");

const home = path.join(__dirname, "../../.kusto/node_modules/@kusto/language-service-next");
for (const file of ["bridge.min.js", "Kusto.Language.Bridge.min.js"]) {
  vm.runInThisContext(fs.readFileSync(path.join(home, file), "utf8"));
}
const { KustoCode, GlobalState } = Kusto.Language;
const { DatabaseSymbol, TableSymbol } = Kusto.Language.Symbols;
const Kind = Kusto.Language.Syntax.SyntaxKind;

function read(query, globals) {
  const code = KustoCode.ParseAndAnalyze(query, globals);
  const diagnostics = code.GetDiagnostics();
  const found = { wrong: [], texts: [], fields: [] };
  for (let i = 0; i < diagnostics.Count; i++) {
    const one = diagnostics.getItem(i);
    found.wrong.push(`${one.Code} ${one.Message} (at ${one.Start})`);
  }
  visit(code.Syntax, "", found);
  return found;
}

function visit(node, around, found) {
  if (node.Kind === Kind.PathExpression && node.GetChild(0).ToString(0).trim() === "line") {
    found.fields.push([node.GetChild(2).ToString(0).trim(), around]);
  }
  if (node.Kind === Kind.StringLiteralExpression) {
    found.texts.push(node.LiteralValue);
  }
  if (node.Kind === Kind.FunctionCallExpression) {
    around = node.Name.ToString(0).trim();
  }
  for (let i = 0; i < node.ChildCount; i++) {
    const child = node.GetChild(i);
    if (child) visit(child, around, found);
  }
}

const asked = JSON.parse(fs.readFileSync(0, "utf8"));
const tables = Object.entries(asked.tables).map(([name, columns]) =>
  TableSymbol.From(columns).WithName(name));
const globals = GlobalState.Default.WithDatabase(new DatabaseSymbol.ctor("workspace", tables));
const answer = Object.fromEntries(
  Object.entries(asked.queries).map(([name, query]) => [name, read(query, globals)]));
process.stdout.write(JSON.stringify(answer));
