/** The text of a table of jobs, as YAML or CSV → its rows, with the lines that they begin in. Pure. */
import { CsvError, parse as parseCsv } from 'csv-parse/sync';
import { LineCounter, isMap, isSeq, parseDocument, type Document, type YAMLMap } from 'yaml';

/** Something in the table that nothing can be done with. */
export interface Problem {
  readonly line: number;
  /** What is wrong, without the place. */
  readonly text: string;
}

/** As it was written. */
export interface Row {
  readonly line: number;
  readonly name: string | undefined;
  readonly source: string | undefined;
  readonly target: string | undefined;
  /** Words for ddt-send. */
  readonly options: readonly string[];
}

export interface Table {
  readonly rows: readonly Row[];
  readonly problems: readonly Problem[];
}

export type TableKind = 'yaml' | 'csv';

const COLUMNS = ['name', 'source', 'target', 'options'];
const COLUMNS_NEEDED = ['source', 'target'];

/** By the end of its name. @returns undefined where that says nothing. */
export function kindOfTable(path: string): TableKind | undefined {
  if (/\.ya?ml$/i.test(path)) return 'yaml';
  return /\.csv$/i.test(path) ? 'csv' : undefined;
}

export function readTable(text: string, kind: TableKind): Table {
  // Of any system; lines are counted by one of them.
  const lines = text.replaceAll(/\r\n?/g, '\n');
  return kind === 'csv' ? readCsv(lines) : readYaml(lines);
}

/** A sequence of mappings. Every scalar is text: a disk called `off` is not a truth value. */
function readYaml(text: string): Table {
  const lines = new LineCounter();
  const lineAt = (offset = 0): number => Math.max(1, lines.linePos(offset).line);
  const document = parseDocument(text, { schema: 'failsafe', lineCounter: lines, prettyErrors: false });
  const errors = [...document.errors, ...document.warnings];
  if (errors.length > 0) {
    const problems = errors.map(({ pos, message }) => ({
      line: lineAt(pos[0]),
      text: `no YAML: ${message}`,
    }));
    return { rows: [], problems };
  }
  const { contents } = document;
  if (!isSeq(contents)) {
    const found = { line: 1, text: 'no list of jobs: each begins with "- source:"' };
    return { rows: [], problems: [found] };
  }
  const rows: Row[] = [];
  const problems: Problem[] = [];
  for (const item of contents.items) {
    const node = item as YAMLMap;
    const line = lineAt(node.range?.[0]);
    if (!isMap(item)) {
      problems.push({ line, text: 'no job: it needs at least source and target' });
      continue;
    }
    const value = valueOf(node, document);
    const complaint = typeof value === 'string' ? value : complaintAbout(value);
    if (typeof value !== 'string' && complaint === undefined) rows.push(rowOf(value, line));
    else if (complaint !== undefined) problems.push({ line, text: complaint });
  }
  return { rows, problems };
}

/** @returns what is wrong, where an alias leads nowhere, or to too much. */
function valueOf(node: YAMLMap, document: Document): Readonly<Record<string, unknown>> | string {
  try {
    return node.toJS(document) as Readonly<Record<string, unknown>>;
  } catch (error) {
    if (!(error instanceof ReferenceError)) throw error;
    return `no YAML: ${error.message}`;
  }
}

function complaintAbout(value: Readonly<Record<string, unknown>>): string | undefined {
  const unknown = Object.keys(value).find((name) => !COLUMNS.includes(name));
  if (unknown !== undefined) return `'${unknown}' is not one of ${COLUMNS.join(', ')}`;
  const { options, ...texts } = value;
  const other = Object.entries(texts).find(([, each]) => typeof each !== 'string');
  if (other !== undefined) return `${other[0]} is not a text`;
  const isList = Array.isArray(options) && options.every((word) => typeof word === 'string');
  if (options !== undefined && typeof options !== 'string' && !isList)
    return 'options is neither a text nor a list of words';
  return undefined;
}

/** A line with the names of columns, then one for each job (RFC 4180); lines with `#` are comments. */
function readCsv(text: string): Table {
  let records: { record: string[]; info: { lines: number } }[];
  try {
    records = parseCsv(text, {
      bom: true,
      comment: '#',
      comment_no_infix: true,
      info: true,
      relax_column_count: true,
      skip_empty_lines: true,
      trim: true,
    }) as unknown as typeof records;
  } catch (error) {
    if (!(error instanceof CsvError)) throw error;
    const line = Number((error as { lines?: unknown }).lines ?? 1);
    return { rows: [], problems: [{ line, text: `no CSV: ${error.message}` }] };
  }
  const [head, ...rest] = records;
  const columns = head?.record ?? [];
  const problems = headProblems(columns, head?.info.lines ?? 1);
  if (problems.length > 0) return { rows: [], problems };
  const rows: Row[] = [];
  for (const { record, info } of rest) {
    if (record.length > columns.length) {
      const counts = `${record.length} cells under ${columns.length} columns`;
      problems.push({ line: info.lines, text: `${counts}: put a cell with a comma in quotes` });
    } else {
      const cells = columns.map((name, at) => [name, record[at] || undefined] as const);
      rows.push(rowOf(Object.fromEntries(cells), info.lines));
    }
  }
  return { rows, problems };
}

function headProblems(columns: readonly string[], line: number): Problem[] {
  const found: Problem[] = [];
  for (const name of COLUMNS_NEEDED) {
    if (!columns.includes(name)) found.push({ line, text: `the first line names no column ${name}` });
  }
  for (const [at, name] of columns.entries()) {
    if (!COLUMNS.includes(name)) found.push({ line, text: `'${name}' is not one of ${COLUMNS.join(', ')}` });
    else if (columns.indexOf(name) < at) found.push({ line, text: `two columns are called ${name}` });
  }
  return found;
}

function rowOf(value: Readonly<Record<string, unknown>>, line: number): Row {
  const { name, source, target, options } = value as Partial<Record<string, string>> & {
    options?: string | string[];
  };
  const words = Array.isArray(options) ? options : wordsOf(options ?? '');
  return { line, name, source, target, options: words };
}

/** As a shell splits them: at blanks that are not in quotes. */
function wordsOf(text: string): string[] {
  const found = text.match(/(?:[^\s"']|"[^"]*"|'[^']*')+|["']/g) ?? [];
  return found.map((word) => word.replaceAll(/"([^"]*)"|'([^']*)'/g, '$1$2'));
}
