/** Which of the copies in a store a name means. Pure. */
import { TransferError } from '../errors.ts';
import type { StoredCopy } from './object-store.ts';
import type { StoreName } from './store-name.ts';

/** In messages. */
const NAMED_MAX = 20;

/**
 * Those of the named copy, at the named time, or all.
 * @param copies of the store, in any order.
 * @returns by name, the oldest first. @throws TransferError `source-refused` where there is none.
 */
export function copiesNamed(copies: readonly StoredCopy[], named: StoreName): StoredCopy[] {
  const { copy, when, store } = named;
  const hint = `ddt-receive --list '${store}'`;
  const ofName = copies.filter(({ name }) => copy === undefined || name === copy);
  if (ofName.length === 0) {
    const names = namesOf(copies);
    const there = names.length === 0 ? 'it holds no copy' : `it has ${listed(names)}`;
    const what = copy === undefined ? `there is no copy in ${store}` : `there is no copy ${copy} in ${store}`;
    throw new TransferError('source-refused', `${what}: ${there}`, { hint });
  }
  const found = ofName.filter((one) => when === undefined || isAt(one, when));
  if (found.length === 0) {
    const times = listed(ofName.map((one) => one.when).sort());
    throw new TransferError('source-refused', `there is no ${named.name}: ${copy} has ${times}`, { hint });
  }
  return found.sort((a, b) => compare(a.name, b.name) || compare(a.when, b.when));
}

/**
 * The named copy; without a time the last one of that name, without a name that of the only name there is.
 * @throws TransferError `source-refused`, `usage` where it could be one of several.
 */
export function oneCopyNamed(copies: readonly StoredCopy[], named: StoreName): StoredCopy {
  const found = copiesNamed(copies, named);
  const names = namesOf(found);
  const hint = `ddt-receive --list '${named.store}'`;
  if (names.length > 1) {
    const example = `for example '${named.store}#${names[0]}'`;
    throw new TransferError('usage', `${named.store} has copies of ${names.length} names: ${listed(names)}`, {
      hint: `add one of them, ${example}`,
    });
  }
  const last = found.at(-1);
  if (last === undefined) throw new TransferError('source-refused', `there is no ${named.name}`, { hint });
  if (named.when !== undefined && found.length > 1) {
    const times = listed(found.map(({ when }) => when));
    throw new TransferError('usage', `${named.name} may be one of several: ${times}`, { hint });
  }
  return last;
}

/** As people type it. */
export function copyName(store: string, { name, when }: Pick<StoredCopy, 'name' | 'when'>): string {
  return `${store}#${name}@${when}`;
}

/** Milliseconds may be left out. */
function isAt({ when }: StoredCopy, wanted: string): boolean {
  return when === wanted || when.replace(/\.\d+Z$/, 'Z') === wanted;
}

function namesOf(copies: readonly StoredCopy[]): string[] {
  return [...new Set(copies.map(({ name }) => name))].sort();
}

function listed(texts: readonly string[]): string {
  const rest = texts.length - NAMED_MAX;
  return texts.slice(0, NAMED_MAX).join(', ') + (rest > 0 ? ` and ${rest} more` : '');
}

function compare(a: string, b: string): number {
  return a < b ? -1 : Number(a > b);
}
