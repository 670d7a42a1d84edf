/** Phrases that a fluent engineer would not write, and what to write in their place. */
import { lineAt, maskOf } from './source-text.ts';
import type { Rule } from './tidy-rules.ts';

/** What is found, in any case unless the pattern has capitals, and what to write. */
export const QUAINT: readonly (readonly [RegExp, string])[] = [
  [/\btold\b/, 'says, knows, is given, or distinguishes'],
  [/\btells of\b/, 'says that, or shows'],
  [/\b(go|goes|going|went|gone) on\b/, 'resume, or continue'],
  [/\banew\b/, 'again, start over, or rewrite'],
  [/\bis not possible here\b/, 'is not allowed here'],
  [/\bwhoever\b/, 'anyone who, or name the process'],
  [/\bwhat could not be read\b/, 'unreadable sectors, or unreadable areas'],
  [/\bunder way\b/, 'in flight, or running'],
  [/\bin hand\b/, 'in flight, or running'],
  [/\bof no (one )?moment\b/, 'inconsistent'],
  [/\bfrom now on\b/, 'after this'],
  [/\b(?<!as )so long\b/, 'as long as, or name the time'],
  [/\bnothing moves\b/, 'no data'],
  [/\bjust like that\b/, 'leave it out'],
  [/\bends? what uses\b/, 'stop the process that uses'],
  [/\bthat there (is|are)(?! (no|not|a|an|one|some|only|enough)\b)/, 'existing, or leave it out'],
  [/\b(what|that|which) stands?\b/, 'name the thing: the content of the target, the text of the page'],
  [/\ball the same\b/, 'anyway'],
  [/\b(to|be) be had\b|\bbe had\b/, 'available'],
  [/\bmend(s|ed|ing)?\b/, 'repair'],
  [/\bpieces?\b/, 'chunk'],
  [/(?<!-)\bpace\b/, 'rate, or lane tuner'],
  [
    /(?<!\bthere )\bis no (?!(longer|more|such|one|better|proof|guarantee|room|space|need|reason|way)\b)/,
    'is not a',
  ],
  [/\bElse\b/, 'Otherwise'],
  [/\b(is|are|was|were|be|been) taken for\b/, 'counts as, or is mistaken for'],
  [/\b(take|takes|took|taken|taking) back\b/, 'invalidate, withdraw, or undo'],
  [/\bfor ever\b/, 'forever'],
  [/\bspoil(s|t|ed|ing)?\b/, 'damage, or corrupt'],
  [/\blest\b/, 'or, or otherwise'],
  [/\b(there|here|where)(of|in|upon|by|with)\b/, 'a plain relative clause'],
  [/\bin the midst of\b/, 'during, or within'],
  [/\bin turns\b/, 'taking turns'],
  [/\bnobody hears\b/, 'nobody is informed'],
  [/\bas (it|they|these|those) stands?\b/, 'unchanged, or as is'],
];

/** Documents whole; of code its comments, strings and templates. */
function proseOf(path: string, text: string): string[] {
  if (path.endsWith('.md')) return [text];
  const { comments, strings } = maskOf(text);
  return [comments, strings];
}

/** Joins the lines of each comment or paragraph, so that a phrase is found across them. Keeps offsets. */
function joined(prose: string): string {
  return prose
    .replace(/\n(?=[ \t]*(\n|\/\*))/g, '\0')
    .replace(/\n[ \t]*(\*(?!\/)|\/\/|>)?/g, (gap) => ' '.repeat(gap.length));
}

/** A phrase may be broken into lines, which leaves several spaces between its words. */
const PATTERNS = QUAINT.map(([pattern, instead]) => {
  const flags = /[A-Z]/.test(pattern.source) ? 'g' : 'gi';
  return { pattern: new RegExp(pattern.source.replaceAll(' ', ' +(?! )'), flags), instead };
});

/** In the product, the scripts and the documents. */
export const plainEnglish: Rule = ({ path, text }) => {
  if (!/^(common|sender|receiver|fleet|scripts)\/|\.md$/.test(path)) return [];
  return proseOf(path, text).flatMap((prose) => {
    const line = joined(prose);
    return PATTERNS.flatMap(({ pattern, instead }) =>
      [...line.matchAll(pattern)].map(({ 0: found, index }) => {
        return `${path}:${lineAt(text, index)}: '${found.replace(/ +/g, ' ').trim()}': write ${instead}`;
      }),
    );
  });
};
