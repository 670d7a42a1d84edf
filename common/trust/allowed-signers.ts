/**
 * Whose signatures count, in the format of ssh-keygen(1), section ALLOWED SIGNERS: a line has principals,
 * options, and a key. Stricter than ssh-keygen: a line that is not understood is refused, not skipped.
 */
import { problemOfKey } from './ssh-keys.ts';

export interface AllowedSigner {
  /** Whose key it is, in the words of the file. */
  readonly principals: string;
  /** As ssh has it. */
  readonly publicKey: Buffer;
  /** Seconds since 1970: from this one on. */
  readonly validAfter: number | undefined;
  /** Seconds since 1970: up to this one. */
  readonly validBefore: number | undefined;
}

export interface AllowedSigners {
  readonly signers: readonly AllowedSigner[];
  /** Lines whose keys may only sign for other namespaces. */
  readonly otherLines: number;
}

type RefuseLine = (reason: string) => never;

/** Principals with or without quotes, and the rest. */
const LINE = /^(?:"([^"]+)"|([^\s"]+))[ \t]+(\S.*)$/;
/** Options, in which quotes may hold blanks, and the rest. */
const OPTIONS = /^((?:[^\s"]|"[^"]*")+)[ \t]+(\S.*)$/;
const OPTION = /([A-Za-z-]+)(=(?:"([^"]*)")?)?(,(?=.)|$)/y;
const KEY_TYPE = /^(sk-)?(ssh|ecdsa)-[\w@.-]+$/;
const TIME = /^(\d{4})(\d\d)(\d\d)(?:(\d\d)(\d\d)(\d\d)?)?(Z|UTC)?$/i;

/**
 * @param namespace which the signatures are for: lines that do not allow it are counted and left out.
 * @param refuse throws. @returns keys in the order of the file.
 */
export function parseAllowedSigners(
  text: string,
  namespace: string,
  refuse: (line: number, reason: string) => never,
): AllowedSigners {
  const signers: AllowedSigner[] = [];
  let otherLines = 0;
  for (const [at, raw] of text.split('\n').entries()) {
    const line = raw.trim();
    if (line === '' || line.startsWith('#')) continue;
    const signer = parseLine(line, namespace, (reason) => refuse(at + 1, reason));
    if (signer === undefined) otherLines++;
    else signers.push(signer);
  }
  return { signers, otherLines };
}

/** As ssh-keygen has it: both ends are included. */
export function isValidAt({ validAfter, validBefore }: AllowedSigner, nowSeconds: number): boolean {
  return (validAfter ?? nowSeconds) <= nowSeconds && nowSeconds <= (validBefore ?? nowSeconds);
}

/** @returns undefined if the key may only sign for other namespaces. */
function parseLine(line: string, namespace: string, refuse: RefuseLine): AllowedSigner | undefined {
  const [, quoted, bare, rest] = LINE.exec(line) ?? [];
  const principals = quoted ?? bare;
  if (principals === undefined || rest === undefined) return refuse('it has no key after the principals');
  const hasOptions = !KEY_TYPE.test(rest.split(/\s/, 1)[0] ?? '');
  const [, optionText = '', key] = hasOptions ? (OPTIONS.exec(rest) ?? []) : [rest, '', rest];
  if (key === undefined) return refuse('it has no key');
  const options = parseOptions(optionText, refuse);
  const publicKey = parseKeyText(key, refuse);
  const validAfter = parseTime('valid-after', options, refuse);
  const validBefore = parseTime('valid-before', options, refuse);
  if (validAfter !== undefined && validBefore !== undefined && validBefore <= validAfter)
    refuse('its valid-before is not after its valid-after');
  const namespaces = options.get('namespaces');
  if (namespaces !== undefined && !isInPatterns(namespace, namespaces)) return undefined;
  return { principals, publicKey, validAfter, validBefore };
}

function parseOptions(text: string, refuse: RefuseLine): Map<string, string> {
  const options = new Map<string, string>();
  // Of its own: a sticky expression has a state.
  const pattern = new RegExp(OPTION);
  while (pattern.lastIndex < text.length) {
    const [whole, written, equals, value] = pattern.exec(text) ?? [];
    if (whole === undefined || written === undefined) return refuse('its options are not well-formed');
    const name = written.toLowerCase();
    if (name === 'cert-authority') return refuse('certificates are not supported: name the keys themselves');
    if (!['namespaces', 'valid-after', 'valid-before'].includes(name))
      return refuse(`the option ${written} is not known`);
    if (options.has(name)) return refuse(`the option ${name} is there twice`);
    if (equals === undefined || value === undefined)
      return refuse(`the option ${name} has no value in double quotes`);
    options.set(name, value);
  }
  return options;
}

function parseKeyText(text: string, refuse: RefuseLine): Buffer {
  const [type = '', base64 = ''] = text.split(/\s+/);
  const blob = Buffer.from(base64, 'base64');
  const problem = problemOfKey(blob);
  const isSame = blob.toString('base64') === base64 && blob.subarray(4, 4 + type.length).toString() === type;
  if (base64 === '' || !isSame) {
    return refuse(KEY_TYPE.test(type) ? 'its key is damaged' : `'${type}' is not a type of key`);
  }
  return problem === undefined ? blob : refuse(problem);
}

/** In the local time zone unless it says otherwise. */
function parseTime(
  name: string,
  options: ReadonlyMap<string, string>,
  refuse: RefuseLine,
): number | undefined {
  const text = options.get(name);
  if (text === undefined) return undefined;
  const [whole, year, month, day, hour, minute, second, zone] = TIME.exec(text) ?? [];
  const parts = [year, month, day, hour, minute, second].map((part) => Number(part ?? 0));
  const [y = 0, mo = 0, d = 0, h = 0, mi = 0, s = 0] = parts;
  const utc = new Date(Date.UTC(y, mo - 1, d, h, mi, s));
  const isInCalendar = utc.getUTCMonth() === mo - 1 && utc.getUTCDate() === d && h < 24 && mi < 60 && s < 60;
  if (whole === undefined || y < 1970 || !isInCalendar)
    return refuse(`its ${name} is not a time: YYYYMMDD[Z] or YYYYMMDDHHMM[SS][Z]`);
  return Math.floor((zone === undefined ? new Date(y, mo - 1, d, h, mi, s) : utc).getTime() / 1000);
}

/** As match_pattern_list of OpenSSH: `*` and `?`, and `!` before a pattern that must not match. */
function isInPatterns(text: string, list: string): boolean {
  const patterns = list.split(',');
  const isDenied = patterns.some((pattern) => pattern.startsWith('!') && matches(text, pattern.slice(1)));
  return !isDenied && patterns.some((pattern) => !pattern.startsWith('!') && matches(text, pattern));
}

function matches(text: string, pattern: string): boolean {
  const source = pattern
    .replaceAll(/\*+/g, '*')
    .replaceAll(/[$()+.[\\\]^{|}]/g, '\\$&')
    .replaceAll('*', '.*')
    .replaceAll('?', '.');
  return new RegExp(`^${source}$`).test(text);
}
