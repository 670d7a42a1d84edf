/** Names of copies in an object store: `s3://bucket/prefix#name@when`. Pure. */
import { TransferError } from '../errors.ts';

const EXAMPLES = 's3://bucket/disks#web1, or s3://bucket/disks#web1@2026-11-29T14:30:00Z for an older copy';
/** As the rules of Amazon S3 say for a bucket; others allow no more. */
const BUCKET = /^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/;
/** Keys have 1024 bytes at most; chunks need 80 of them. */
const PREFIX = /^[\w.!'()*-]+(?:\/[\w.!'()*-]+)*$/;
const PREFIX_LENGTH_MAX = 800;
const COPY = /^[A-Za-z0-9][\w.-]{0,99}$/;
const WHEN = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{3})?Z$/;

export interface StoreName {
  readonly bucket: string;
  /** '' or with a slash at the end. */
  readonly prefix: string;
  /** Of which all copies are generations; undefined: none is named. */
  readonly copy: string | undefined;
  /** When the copy was sealed, as its receipt says, perhaps without the milliseconds; undefined: the last. */
  readonly when: string | undefined;
  /** One spelling for one store: `s3://bucket/prefix`. */
  readonly store: string;
  /** With copy and time: what messages call it. */
  readonly name: string;
}

/** Whether the text means to be such a name. */
export function isStoreName(text: string): boolean {
  return /^s3:\/\//i.test(text);
}

/** @throws TransferError `usage`. */
export function parseStoreName(text: string): StoreName {
  const [, bucket = '', path = '', fragment] = /^s3:\/\/([^/#]*)(\/[^#]*)?(?:#(.*))?$/i.exec(text) ?? [];
  if (!BUCKET.test(bucket)) refuse(text, `'${bucket}' is not the name of a bucket`);
  const trimmed = path.replace(/^\/|\/$/g, '');
  if (trimmed !== '' && !PREFIX.test(trimmed)) {
    refuse(text, `'${trimmed}' is not a prefix: letters, digits and . _ - are, with single slashes between`);
  }
  if (trimmed.split('/').some((part) => /^\.{1,2}$/.test(part))) refuse(text, 'a prefix has no . and ..');
  if (trimmed.length > PREFIX_LENGTH_MAX) refuse(text, `the prefix has over ${PREFIX_LENGTH_MAX} characters`);
  const [, copy, when] = /^([^@]*)(?:@(.*))?$/.exec(fragment ?? '') ?? [];
  if (fragment !== undefined && !COPY.test(copy ?? '')) {
    refuse(text, `'${copy}' is not a name for a copy: up to 100 letters, digits and . _ - are`);
  }
  if (when !== undefined && !WHEN.test(when)) refuse(text, `'${when}' is not a time as --list shows it`);
  const store = `s3://${bucket}${trimmed === '' ? '' : `/${trimmed}`}`;
  const at = when === undefined ? '' : `@${when}`;
  return {
    bucket,
    prefix: trimmed === '' ? '' : `${trimmed}/`,
    copy: fragment === undefined ? undefined : copy,
    when,
    store,
    name: fragment === undefined ? store : `${store}#${copy}${at}`,
  };
}

function refuse(text: string, reason: string): never {
  throw new TransferError('usage', `cannot read '${text}': ${reason}`, { hint: `for example ${EXAMPLES}` });
}
