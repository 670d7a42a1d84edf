/**
 * Valid inputs, and the same with a few changes: random text hardly ever passes the first check of a parser.
 * No change is the simplest case, so failures shrink towards valid inputs.
 */
import * as fc from 'fast-check';

/** What breaks careless parsers: controls, bidi, lone surrogates, numbers out of range, other digits. */
export const NASTY_TEXTS = [
  '\0',
  '\n',
  '\r\n',
  '\t',
  ' ',
  '\u001b[2J',
  '\u009b31m',
  '\u202e',
  '\u2066',
  '\u200b',
  '\u2028',
  '\u00a0',
  '\ufeff',
  '\ud800',
  '\u0661',
  '\uff11',
  '-',
  '+',
  '-0',
  '.',
  ',',
  ';',
  ':',
  '=',
  '"',
  "'",
  '&',
  '#',
  '%',
  '%00',
  '%zz',
  '/',
  '\\',
  '0',
  '00',
  '0x10',
  '1e400',
  'NaN',
  'Infinity',
  '__proto__',
  '9007199254740993',
  '9'.repeat(25),
  '{',
  '}',
  '[',
  ']',
  '*',
  '$&',
] as const;
/** A member with one of these instead of its value. */
export const NASTY_VALUES = [
  'null',
  'true',
  '-0',
  '-1',
  '0.5',
  '1e21',
  '1e400',
  '9007199254740993',
  '""',
  '"81"',
  '"NaN"',
  '"__proto__"',
  '"\\u001b[2J\\u0007"',
  '"\\u202e\\u2066\\u200b"',
  '"\\ud800"',
  '"\\u2028\\r\\n"',
  `"${'x'.repeat(3000)}"`,
  '[]',
  '[[]]',
  '[null,{}]',
  '[[0,1],[0,1]]',
  '[[1e400,-0]]',
  '{}',
  '{"__proto__":{"state":"written"}}',
  // Number() and String() throw TypeError for it.
  '{"toString":null,"valueOf":null}',
  '[{"toString":null,"valueOf":null}]',
  '{"length":1}',
] as const;
const EDITS_MAX = 4;
/** Far deeper than the stack of a recursive walk. */
export const NESTED = `${'['.repeat(50_000)}${']'.repeat(50_000)}`;

export const EDIT_KINDS = ['insert', 'overwrite', 'nudge', 'nudge', 'delete', 'repeat', 'cut'] as const;

export interface Edit {
  readonly kind: 'insert' | 'overwrite' | 'nudge' | 'delete' | 'repeat' | 'cut';
  readonly at: number;
  readonly length: number;
  readonly text: string;
}

const EDIT: fc.Arbitrary<Edit> = fc.record({
  kind: fc.constantFrom(...EDIT_KINDS),
  at: fc.nat(0xffff),
  length: fc.oneof(fc.constantFrom(1, 2, 4), fc.nat(64)),
  text: fc.oneof(fc.constantFrom(...NASTY_TEXTS), fc.string({ unit: 'binary', maxLength: 4 })),
});

function nextOf(character: string): string {
  return character === '' ? '' : String.fromCharCode((character.charCodeAt(0) + 1) & 0xffff);
}

export function applyEdit(before: string, { kind, at, length, text }: Edit): string {
  const from = at % (before.length + 1);
  const end = Math.min(before.length, from + length);
  switch (kind) {
    case 'insert':
      return before.slice(0, from) + text + before.slice(from);
    case 'overwrite':
      return before.slice(0, from) + text + before.slice(from + text.length);
    case 'nudge':
      // To the next digit or letter, which often makes another valid input.
      return before.slice(0, from) + nextOf(before.slice(from, from + 1)) + before.slice(from + 1);
    case 'delete':
      return before.slice(0, from) + before.slice(end);
    case 'repeat':
      return before.slice(0, end) + before.slice(from);
    case 'cut':
      return before.slice(0, from);
  }
}

/** The valid text, with up to four changes. */
export function mutatedText(valid: fc.Arbitrary<string>): fc.Arbitrary<string> {
  return fc
    .tuple(valid, fc.array(EDIT, { maxLength: EDITS_MAX }))
    .map(([text, edits]) => edits.reduce(applyEdit, text));
}

/** The same for bytes; the texts of changes count as Latin-1. */
export function mutatedBytes(valid: fc.Arbitrary<Uint8Array>): fc.Arbitrary<Buffer<ArrayBuffer>> {
  return mutatedText(valid.map((bytes) => Buffer.from(bytes).toString('latin1'))).map((text) =>
    Buffer.from(text, 'latin1'),
  );
}

export interface Change {
  readonly kind: 'replace' | 'drop' | 'double';
  readonly at: number;
  readonly value: string;
}

const CHANGE: fc.Arbitrary<Change> = fc.record({
  kind: fc.constantFrom<Change['kind'][]>('replace', 'replace', 'drop', 'double'),
  at: fc.nat(0xffff),
  value: fc.oneof(
    { arbitrary: fc.constantFrom(...NASTY_VALUES), weight: 40 },
    { arbitrary: fc.constant('{"toString":null,"valueOf":null}'), weight: 5 },
    { arbitrary: fc.jsonValue({ maxDepth: 2 }).map((value) => JSON.stringify(value)), weight: 10 },
    { arbitrary: fc.constant(NESTED), weight: 1 },
  ),
});

/** The number of values in a value, itself included. */
function countValues(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 1;
  return Object.values(value).reduce<number>((sum, each) => sum + countValues(each), 1);
}

/** JSON of a value in which some values, counted in the order of the text, are changed. */
class ChangedJson {
  readonly #changes: ReadonlyMap<number, Change>;
  #next = 0;

  constructor(changes: ReadonlyMap<number, Change>) {
    this.#changes = changes;
  }

  /** @returns none if it was dropped, two if it was doubled. */
  textsOf(value: unknown): string[] {
    const change = this.#changes.get(this.#next++);
    const text = this.#textOf(value);
    if (change === undefined) return [text];
    if (change.kind === 'drop') return [];
    return change.kind === 'double' ? [text, change.value] : [change.value];
  }

  #textOf(value: unknown): string {
    if (typeof value !== 'object' || value === null) return JSON.stringify(value);
    if (Array.isArray(value)) return `[${value.flatMap((each) => this.textsOf(each)).join()}]`;
    const members = Object.entries(value).flatMap(([name, each]) =>
      this.textsOf(each).map((text) => `${JSON.stringify(name)}:${text}`),
    );
    return `{${members.join()}}`;
  }
}

export function changedJson(value: unknown, changes: readonly Change[]): string {
  const count = countValues(value);
  const byPlace = new Map(changes.map((change) => [change.at % count, change]));
  return new ChangedJson(byPlace).textsOf(value).at(-1) ?? '';
}

/** JSON of the valid value with up to four members changed, dropped or doubled, sometimes cut or garbled. */
export function mutatedJson(valid: fc.Arbitrary<unknown>): fc.Arbitrary<string> {
  const whole = fc
    .tuple(valid, fc.array(CHANGE, { maxLength: EDITS_MAX }))
    .map(([value, changes]) => changedJson(value, changes));
  return fc.oneof(
    { arbitrary: whole, weight: 4 },
    { arbitrary: mutatedText(valid.map((value) => JSON.stringify(value))), weight: 1 },
  );
}

/** {@link mutatedJson}, parsed; undefined where it is no JSON. */
export function mutatedValue(valid: fc.Arbitrary<unknown>): fc.Arbitrary<unknown> {
  return mutatedJson(valid).map((text): unknown => {
    try {
      return JSON.parse(text);
    } catch {
      return undefined;
    }
  });
}
