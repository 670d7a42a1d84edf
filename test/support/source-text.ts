/** Tells code, strings and comments of TypeScript apart: enough for rules about style, but not a parser. */

export interface Mask {
  /** The text with comments and the insides of strings, templates and regular expressions blanked. */
  readonly code: string;
  /** The text with all but the comments blanked. */
  readonly comments: string;
  /** The text with all but the insides of strings, templates and regular expressions blanked. */
  readonly strings: string;
}

type Kind = 'code' | 'comment' | 'string';

const COMMENT = /\/\/[^\n]*|\/\*[^]*?\*\//y;
const STRING = /'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"/y;
const REGULAR_EXPRESSION = /\/(?![*/])(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\[\n])+\/[a-z]*/y;
/** After these a slash begins a regular expression; after anything else it divides. */
const BEFORE_EXPRESSION = /(^|[(,=:[!&|?{};+\-*%<>~^]|\b(return|typeof|case|in|of|await|void))\s*$/;
const TEMPLATE_TEXT = /(?:\\[^]|\$(?!\{)|[^`\\$])*/y;

/** All have the length and lines of the text, so that an offset means the same in each. */
export function maskOf(text: string): Mask {
  const kinds = Array.from({ length: text.length }, (): Kind => 'code');
  /** For each template that is open: how many braces are open in its `${`. */
  const templates: number[] = [];
  for (let at = 0; at < text.length;) {
    const piece = pieceAt(text, at, templates);
    // The quotes stay in the code: a string is still a value.
    const margin = piece.kind === 'string' ? 1 : 0;
    if (piece.kind !== 'code') kinds.fill(piece.kind, at + margin, at + piece.length - margin);
    at += piece.length;
  }
  const only = (wanted: Kind): string =>
    text.replace(/[^\n]/g, (character, offset: number) => (kinds[offset] === wanted ? character : ' '));
  return { code: only('code'), comments: only('comment'), strings: only('string') };
}

function pieceAt(text: string, at: number, templates: number[]): { kind: Kind; length: number } {
  const depth = templates.at(-1);
  const character = text[at];
  if (character === '`') {
    templates.push(0);
    return templateText(text, at, templates);
  }
  if (depth !== undefined && character === '{') templates[templates.length - 1] = depth + 1;
  if (depth !== undefined && character === '}') {
    templates[templates.length - 1] = depth - 1;
    if (depth === 1) return templateText(text, at, templates);
  }
  if (character === "'" || character === '"') {
    return { kind: 'string', length: Math.max(2, lengthOfMatch(STRING, text, at)) };
  }
  if (character === '/') {
    const length = lengthOfMatch(COMMENT, text, at);
    if (length > 0) return { kind: 'comment', length };
    const isExpression = BEFORE_EXPRESSION.test(text.slice(Math.max(0, at - 40), at));
    const expressionLength = isExpression ? lengthOfMatch(REGULAR_EXPRESSION, text, at) : 0;
    if (expressionLength > 0) return { kind: 'string', length: expressionLength };
  }
  return { kind: 'code', length: 1 };
}

/** From the backtick or brace at `at` to the end of the template, or into the next `${`. */
function templateText(text: string, at: number, templates: number[]): { kind: Kind; length: number } {
  const end = at + 1 + lengthOfMatch(TEMPLATE_TEXT, text, at + 1);
  const isOver = text[end] !== '$';
  if (isOver) templates.pop();
  else templates[templates.length - 1] = 1;
  return { kind: 'string', length: end - at + (isOver ? 1 : 2) };
}

function lengthOfMatch(pattern: RegExp, text: string, at: number): number {
  pattern.lastIndex = at;
  return pattern.exec(text)?.[0].length ?? 0;
}

/** Static and dynamic imports and re-exports, in order. */
export function importsOf(text: string): { specifier: string; offset: number }[] {
  const { code } = maskOf(text);
  const found: { specifier: string; offset: number }[] = [];
  for (const { 0: head, index } of code.matchAll(/\bfrom\s+|\bimport\s*\(?\s*/g)) {
    const specifier = /^(['"])([^'"\n]+)\1/.exec(text.slice(index + head.length))?.[2];
    if (specifier !== undefined) found.push({ specifier, offset: index });
  }
  return found;
}

/** 1-based. */
export function lineAt(text: string, offset: number): number {
  return text.slice(0, offset).split('\n').length;
}

/** The words of an identifier, in lower case: `targetSizeBytes` is `target`, `size`, `bytes`. */
export function wordsOf(identifier: string): string[] {
  return identifier
    .split(/[_$]+|(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])/)
    .map((word) => word.toLowerCase());
}
