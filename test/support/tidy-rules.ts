/** The rules of this code base, as functions from one file to the lines that break them. */
import { basename, dirname, join } from 'node:path/posix';
import { importsOf, lineAt, maskOf, wordsOf } from './source-text.ts';

/** `path` is relative to the project, with forward slashes. */
export interface SourceFile {
  readonly path: string;
  readonly text: string;
}

/** @returns one sentence per violation, starting with its place: `common/x.ts:12: …`. */
export type Rule = (file: SourceFile) => string[];

const FILE_LINES_MAX = 400;
const FUNCTION_LINES_MAX = 70;
const LINE_COLUMNS_MAX = 110;

const isProduct = (path: string): boolean => /^(common|sender|receiver|fleet)\//.test(path);

function at(file: SourceFile, offset: number, complaint: string): string {
  return `${file.path}:${lineAt(file.text, offset)}: ${complaint}`;
}

/** Every match in the code, without strings and comments. */
function matchesIn(file: SourceFile, pattern: RegExp, complaint: string): string[] {
  const found = maskOf(file.text).code.matchAll(pattern);
  return [...found].map((match) => at(file, match.index, `${complaint}: ${match[0].trim()}`));
}

export const fileLength: Rule = ({ path, text }) => {
  const count = text.trimEnd().split('\n').length;
  return count > FILE_LINES_MAX ? [`${path}:${count}: ${count} lines, at most ${FILE_LINES_MAX}`] : [];
};

export const lineLength: Rule = ({ path, text }) =>
  text.split('\n').flatMap((line, index) => {
    const columns = line.match(/./gu)?.length ?? 0;
    return columns > LINE_COLUMNS_MAX ? [`${path}:${index + 1}: ${columns} columns`] : [];
  });

/**
 * Blocks of statements, function bodies above all, from the line that opens them to the one that closes them.
 * Bodies of classes and interfaces, object literals and lists of names do not count.
 */
export const functionLength: Rule = (file) => {
  const { code } = maskOf(file.text);
  const open: number[] = [];
  const found: string[] = [];
  for (const { 0: brace, index } of code.matchAll(/[{}]/g)) {
    if (brace === '{') open.push(index);
    const start = brace === '}' ? open.pop() : undefined;
    if (start === undefined || !opensBlock(code.slice(0, start))) continue;
    const lines = lineAt(code, index) - lineAt(code, start) + 1;
    if (lines > FUNCTION_LINES_MAX) found.push(at(file, start, `a function of ${lines} lines`));
  }
  return found;
};

function opensBlock(before: string): boolean {
  const head = before.slice(-1000).trimEnd();
  if (/\b(class|interface)\b[^;{}()]*$/.test(head)) return false;
  if (/\b(return|export|import|type|const|let|throw|yield|await|satisfies|extends|in|of)$/.test(head))
    return false;
  return /(=>|[\w$)>\]}'"`])$/.test(head);
}

/**
 * The folders that a file may import from, besides its own and those of `common`: only ones further down. A
 * folder that is not listed has no place yet.
 */
export const ARROWS: Readonly<Record<string, readonly string[]>> = {
  sender: [
    'sender/watch',
    'sender/preflight',
    'sender/display',
    'sender/transfer',
    'sender/lanes',
    'sender/ssh',
    'sender/source',
    'sender/client',
    'sender/client/connection',
    'sender/domain',
    'sender/bad-sectors',
    'sender/bandwidth',
    'sender/compression',
  ],
  'sender/watch': ['sender/display', 'sender/transfer', 'sender/client', 'sender/source'],
  'sender/preflight': ['sender/display', 'sender/transfer', 'sender/source', 'sender/bad-sectors'],
  'sender/display': ['sender/transfer'],
  'sender/transfer': [
    'sender/lanes',
    'sender/source',
    'sender/client',
    'sender/bad-sectors',
    'sender/compression',
  ],
  'sender/lanes': ['sender/client', 'sender/client/connection'],
  'sender/source': ['sender/bad-sectors'],
  'sender/client': ['sender/client/connection', 'sender/bandwidth'],
  'sender/ssh': ['sender/client/connection'],
  'sender/client/connection': [],
  'sender/domain': ['sender/bad-sectors'],
  'sender/bad-sectors': [],
  'sender/bandwidth': [],
  'sender/compression': [],
  receiver: [
    'receiver/http',
    'receiver/transfer',
    'receiver/durability',
    'receiver/journal',
    'receiver/target',
    'receiver/identity',
    'receiver/console',
    'receiver/pull',
    'receiver/store',
    'receiver/watch',
  ],
  'receiver/http': ['receiver/transfer', 'receiver/console'],
  'receiver/transfer': ['receiver/durability', 'receiver/journal', 'receiver/target'],
  'receiver/durability': ['receiver/journal', 'receiver/target'],
  'receiver/journal': [],
  'receiver/target': [],
  'receiver/identity': [],
  'receiver/console': [],
  'receiver/pull': [],
  'receiver/store': [],
  'receiver/watch': ['receiver/transfer', 'receiver/durability', 'receiver/console'],
  fleet: [],
  'common/bandwidth': ['common'],
  'common/protocol': ['common', 'common/digest', 'common/disk'],
  'common/digest': ['common'],
  'common/trust': ['common'],
  'common/disk': ['common'],
  'common/io': ['common'],
  'common/nbd': ['common', 'common/disk'],
  'common/store': ['common', 'common/disk', 'common/protocol', 'common/receipt'],
  'common/ssh': ['common/program', 'common/protocol', 'common'],
  'common/receipt': [
    'common',
    'common/digest',
    'common/disk',
    'common/io',
    'common/protocol',
    'common/trust',
  ],
  'common/program': ['common/protocol'],
  'common/watch': ['common', 'common/io', 'common/protocol'],
  'common/watch/page': ['common/watch'],
  common: [],
};

/**
 * sender, receiver and fleet import only common, common imports none of them, nobody imports tests or
 * scripts, and within a side the arrows between folders point down {@link ARROWS}.
 */
export const importLaw: Rule = (file) => {
  if (!isProduct(file.path)) return [];
  const own = dirname(file.path);
  const below = ARROWS[own];
  if (below === undefined) return [`${file.path}:1: the folder ${own} is not in the table of arrows`];
  const isCommons = (folder: string): boolean => /^common(\/|$)/.test(folder);
  return importsOf(file.text).flatMap(({ specifier, offset }) => {
    if (!specifier.startsWith('.')) return [];
    const other = dirname(join(own, specifier));
    const isFine =
      other === own || below.includes(other) || (isCommons(other) && !isCommons(own) && other in ARROWS);
    return isFine ? [] : [at(file, offset, `${own} must not import from ${other}`)];
  });
};

/** Circles of arrows; there must be none. */
export function arrowCircles(arrows: Readonly<Record<string, readonly string[]>>): string[] {
  const isDone = new Set<string>();
  const circles: string[] = [];
  const walk = (folder: string, way: readonly string[]): void => {
    if (way.includes(folder)) circles.push([...way.slice(way.indexOf(folder)), folder].join(' → '));
    if (isDone.has(folder) || way.includes(folder)) return;
    for (const next of arrows[folder] ?? []) walk(next, [...way, folder]);
    isDone.add(folder);
  };
  for (const folder of Object.keys(arrows)) walk(folder, []);
  return circles;
}

/** Arrows that no import uses: the table describes the code as it is. */
export function unusedArrows(files: readonly SourceFile[]): string[] {
  const used = new Set<string>();
  for (const { path, text } of files) {
    const own = dirname(path);
    for (const { specifier } of importsOf(text)) used.add(`${own} → ${dirname(join(own, specifier))}`);
  }
  const all = Object.entries(ARROWS).flatMap(([own, below]) => below.map((other) => `${own} → ${other}`));
  return all.filter((arrow) => !used.has(arrow));
}

const HOMES: Readonly<Record<string, RegExp>> = {
  '@hono/node-server': /^(receiver\/http\/server|common\/watch\/watch-server)\.ts$/,
  '@peculiar/x509': /^receiver\/identity\/certificate\.ts$/,
  '@napi-rs/blake-hash': /^common\/digest\/blake3\.ts$/,
  aws4fetch: /^common\/store\/s3-client\.ts$/,
  commander: /^((sender|fleet)\/cli|receiver\/(cli|pull-arguments|store-command-line))\.ts$/,
  'csv-parse': /^fleet\/table\.ts$/,
  hono: /^(receiver\/http\/(app|route-context|auth|([\w-]+-)?routes([\w-]+)?)|common\/watch\/[\w-]+)\.ts$/,
  'log-update': /^common\/io\/live-area\.ts$/,
  'lru-cache': /^receiver\/http\/auth\.ts$/,
  'node:sqlite': /^(receiver\/journal\/sqlite|fleet\/fleet)-journal\.ts$/,
  tweetnacl: /^common\/trust\/ed25519\.ts$/,
  uplot: /^common\/watch\/page\/throughput-chart\.ts$/,
  undici: /^(sender\/client\/(http-receiver|connection\/connector)|common\/store\/s3-client)\.ts$/,
  yaml: /^fleet\/table\.ts$/,
};

/** Each package is used in one place, so that replacing it is a change of one file. */
export const packageHomes: Rule = (file) =>
  importsOf(file.text).flatMap(({ specifier, offset }) => {
    if (!isProduct(file.path) || specifier.startsWith('.')) return [];
    const name = /^(@[^/]+\/[^/]+|[^/]+)/.exec(specifier)?.[0] ?? specifier;
    const home = HOMES[specifier] ?? HOMES[name];
    const isFine = home === undefined ? specifier.startsWith('node:') : home.test(file.path);
    return isFine ? [] : [at(file, offset, `${specifier} must not be used here`)];
  });

/** Adapters that one file chooses among: whoever else imports one depends on a kind. */
const CHOSEN_IN: readonly (readonly [adapters: RegExp, home: string])[] = [
  [/^sender\/source\/(disk-source|nbd-source|standard-input|store-source)\.ts$/, 'sender/open-source.ts'],
];

/** A new kind of source is then an adapter and a line in the file that chooses. */
export const soleImporters: Rule = (file) =>
  importsOf(file.text).flatMap(({ specifier, offset }) => {
    if (!isProduct(file.path) || !specifier.startsWith('.')) return [];
    const other = join(dirname(file.path), specifier);
    const home = CHOSEN_IN.find(([adapters]) => adapters.test(other))?.[1];
    const isFine = home === undefined || home === file.path;
    return isFine ? [] : [at(file, offset, `only ${home} imports ${other}`)];
  });

/** Calls that one file makes for all the others. */
export const soleCallers: Rule = (file) => {
  const only = (home: RegExp, pattern: RegExp, complaint: string): string[] =>
    home.test(file.path) ? [] : matchesIn(file, pattern, complaint);
  const isInstant = /^(common\/clock|test\/support\/prng)\.ts$/;
  return [
    ...only(
      /^(sender|receiver|fleet)\/main\.ts$/,
      /\bprocess\.(exit|abort|reallyExit)\b/g,
      'only main.ts ends the process',
    ),
    ...only(
      /^common\/io\/(buffers|zero-runs)\.ts$/,
      /\bWebAssembly\.Memory\b/g,
      'only buffers.ts makes block buffers, and the thread of zero-runs.ts its own',
    ),
    ...only(
      /^(receiver\/durability\/durability\.ts$|test\/)/,
      /\btarget\??\.flush\(/gi,
      'only durability.ts flushes a target',
    ),
    ...only(
      isInstant,
      /\b(Date\.now|Math\.random)\b|\bnew Date\(\)/g,
      'take time from a Clock and random numbers from a Prng',
    ),
    ...only(/^$/, /\bconsole\./g, 'messages go through the log or standard output'),
  ];
};

const BANNED_WORDS = /^(src|dst|dest|todo|fixme)s?$/;
/** Words that comments may use for other people's things, but names may not. */
const BANNED_NAMES = /^(checksum|upload|session|worker)(s|ed|ing)?$/;
/** Names in other people's interfaces. */
const FOREIGN_NAMES = new Set([
  'maxCachedSessions',
  'ZSTD_c_checksumFlag',
  'isSessionReused',
  'sessionToken',
  'Worker',
]);

export const bannedWords: Rule = (file) => {
  const { code, comments } = maskOf(file.text);
  const found: string[] = [];
  for (const { 0: name, index } of code.matchAll(/[\w$]+/g)) {
    if (FOREIGN_NAMES.has(name)) continue;
    const banned = wordsOf(name).find((word) => BANNED_WORDS.test(word) || BANNED_NAMES.test(word));
    if (banned !== undefined) found.push(at(file, index, `'${banned}' in the name ${name}`));
  }
  for (const { 0: name, index } of comments.matchAll(/[\w$]+/g)) {
    if (wordsOf(name).some((word) => BANNED_WORDS.test(word)))
      found.push(at(file, index, `'${name}' in a comment`));
  }
  return found;
};

export const exportsByName: Rule = (file) =>
  matchesIn(file, /\bexport\s+default\b|\bas\s+default\b/g, 'no default exports');

export const moduleState: Rule = (file) =>
  isProduct(file.path) ? matchesIn(file, /^(export\s+)?(let|var)\b.*/gm, 'modules have no state') : [];

export const fileNames: Rule = ({ path }) => {
  const name = basename(path).replace(/(\.test)?\.ts$/, '');
  if (/^(index|utils?|helpers?)$/.test(name)) return [`${path}:1: the name does not say what is in it`];
  return /^[a-z0-9]+(-[a-z0-9]+)*$/.test(name) ? [] : [`${path}:1: file names are kebab-case`];
};

export const RULES: Readonly<Record<string, Rule>> = {
  fileLength,
  lineLength,
  functionLength,
  importLaw,
  packageHomes,
  soleImporters,
  soleCallers,
  bannedWords,
  exportsByName,
  moduleState,
  fileNames,
};

/** Files of the product that no code but tests imports; main.ts is where the commands start, and pages. */
export function unusedFiles(files: readonly SourceFile[]): string[] {
  const used = new Set<string>();
  for (const { path, text } of files.filter((file) => !file.path.startsWith('test/'))) {
    for (const { specifier } of importsOf(text)) used.add(join(dirname(path), specifier));
  }
  const isEntry = (path: string): boolean =>
    /^((sender|receiver|fleet|common\/watch\/page)\/main|common\/watch\/page\/fleet)\.ts$/.test(path);
  const unused = files.filter(({ path }) => isProduct(path) && !isEntry(path) && !used.has(path));
  return unused.map(({ path }) => `${path}:1: only tests import it`);
}

/** A lockfile that names hosts sends everyone to the registry of one machine. */
export function lockfileHosts(text: string): string[] {
  return text
    .split('\n')
    .filter((line) => /"resolved"|https?:\/\/(?!(www\.)?(github\.com|opencollective\.com))/.test(line));
}
