// Writes docs/reference.md from the code: hooks, what a host offers, what a plugin may have, and what each role asks for.
//   node test/docs/reference.mjs
// A test holds the page to the code.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

const root = new URL('../../', import.meta.url);
const PAGE = new URL('docs/reference.md', root);
const parse = (path) => ts.createSourceFile(path, readFileSync(new URL(path, root), 'utf8'), ts.ScriptTarget.Latest, true);

const FILES = [
  'core/plugin/hooks.ts',
  'core/plugin/plugin.ts',
  'core/plugin/roles.ts',
  'core/collective.ts',
  'core/data.ts',
  'core/random.ts',
  // Kinds of plugins that bring a role of their own.
  ...readdirSync(new URL('plugins', root), { recursive: true })
    .map((name) => `plugins/${name.replaceAll('\\', '/')}`)
    .filter((path) => path.endsWith('.ts') && readFileSync(new URL(path, root), 'utf8').includes('defineRole('))
    .sort(),
];
const sources = FILES.map(parse);
const text = (node) =>
  node
    .getText()
    .replace(/\s+/g, ' ')
    .replace(/\breadonly /g, '');
/** A comment as one line; {@link x} as x. */
const docOf = (node) => {
  const comment = (node.jsDoc ?? []).map((doc) => ts.getTextOfJSDocComment(doc.comment) ?? '').join(' ');
  return comment
    .replace(/\{@link ([^}]*)\}/g, '$1')
    .replace(/\s+/g, ' ')
    .trim();
};
const cell = (value) => value.replaceAll('|', '\\|').replaceAll('<', '&lt;');
const code = (value) => `\`${value.replaceAll('|', '\\|')}\``;

/** The declaration of an interface, wherever it stands. */
function interfaceOf(name) {
  for (const { statements } of sources)
    for (const statement of statements) if (ts.isInterfaceDeclaration(statement) && statement.name.text === name) return statement;
  throw new Error(`no interface ${name}`);
}

const documented = (node) => {
  const doc = docOf(node);
  if (!doc) throw new Error(`${node.getSourceFile().fileName}: ${text(node)} has no comment`);
  return doc;
};

const members = (name) =>
  interfaceOf(name).members.map((member) => `| ${code(text(member).replace(/;$/, ''))} | ${cell(documented(member))} |`);
const table = (head, rows) => [`| ${head.join(' | ')} |`, `| ${head.map(() => '---').join(' | ')} |`, ...rows].join('\n');

function hooks() {
  const rows = [];
  const visit = (node) => {
    if (ts.isPropertyAssignment(node) && ts.isNewExpression(node.initializer) && node.initializer.typeArguments) {
      const kind = node.initializer.expression.getText().replace(/Hook$/, '');
      const [args] = node.initializer.typeArguments;
      rows.push(
        `| ${code(node.name.getText())} | ${kind} | ${args.elements.length > 0 ? args.elements.map((arg) => code(text(arg))).join(', ') : ''} | ${cell(docOf(node))} |`,
      );
    }
    ts.forEachChild(node, visit);
  };
  for (const statement of sources[0].statements)
    if (ts.isVariableStatement(statement) && statement.getText().includes('makeHooks')) visit(statement);
  return table(['hook', 'tapable’s class', 'arguments', 'when, and what a tap returns'], rows);
}

/** The members of each declaration of the interface Roles, also within `declare module`. */
function roleMembers(node) {
  if (ts.isInterfaceDeclaration(node) && node.name.text === 'Roles') return [...node.members];
  return ts.isSourceFile(node) || ts.isModuleDeclaration(node) || ts.isModuleBlock(node)
    ? [...(node.statements ?? (node.body ? [node.body] : []))].flatMap(roleMembers)
    : [];
}

function roles() {
  return sources
    .flatMap(roleMembers)
    .map((member) => {
      const type = member.type.getText();
      const doc = docOf(interfaceOf(type))
        .replace(/^Role \w+: /, '')
        .replace(/^Role \w+\.$/, '');
      return `### ${member.name.getText()}\n\n${doc ? `${doc[0].toUpperCase()}${doc.slice(1)}\n\n` : ''}${table(['member', 'what it is'], members(type))}`;
    })
    .join('\n\n');
}

export const reference = () => `# Reference of the plugin contract

Made from the code by \`node test/docs/reference.mjs\`. [plugins.md](plugins.md) shows how to write a plugin, [loop.md](loop.md) when each hook is
called.

## Hooks

A waterfall's tap returns its first argument, or another value in its place; a bail hook's the answer, or undefined. Other taps only look.
Asynchronous hooks have \`tapPromise\` as well.

${hooks()}

## What a plugin may have

${table(['member', 'what it is'], [...members('PluginFacts'), ...members('PluginBase')])}

## What a host offers

${table(['member', 'what it is'], members('Host'))}

## Roles

${roles()}
`;

if (process.argv[1] === fileURLToPath(import.meta.url)) writeFileSync(PAGE, reference());
