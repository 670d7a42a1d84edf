/** What an S3 service says: its errors and its listings. Pure. */

/** Statuses after which the same request may succeed. */
const PASSING_STATUSES = [408, 425, 429, 500, 502, 503, 504];
const PASSING_CODES = ['RequestTimeout', 'SlowDown', 'OperationAborted', 'ConditionalRequestConflict'];
const FULL_CODES = ['QuotaExceeded', 'StorageFull', 'InsufficientCapacity', 'XMinioStorageFull'];
const TEXT_LENGTH_MAX = 300;

/** A refusal or a failure of the service. */
export class S3Error extends Error {
  readonly status: number;
  /** Of the service: `AccessDenied`, `NoSuchBucket`; '' where it says none. */
  readonly s3Code: string;
  /** The bucket is there: the requests have to go to it. */
  readonly region: string | undefined;

  constructor(status: number, s3Code: string, message: string, region: string | undefined) {
    super(`${[`${status}`, s3Code].join(' ').trim()}${message === '' ? '' : `: ${message}`}`);
    this.status = status;
    this.s3Code = s3Code;
    this.region = region;
  }

  get isPassing(): boolean {
    return PASSING_STATUSES.includes(this.status) || PASSING_CODES.includes(this.s3Code);
  }

  /** There is no room left. */
  get isFull(): boolean {
    return this.status === 507 || FULL_CODES.includes(this.s3Code);
  }
}

export function parseError(
  status: number,
  text: string,
  headers: Readonly<Record<string, string | undefined>>,
): S3Error {
  const region = headers['x-amz-bucket-region'] ?? textOf(text, 'Region');
  const message = textOf(text, 'Message') ?? '';
  return new S3Error(status, textOf(text, 'Code') ?? '', message.slice(0, TEXT_LENGTH_MAX), region);
}

export interface ListedObject {
  readonly key: string;
  readonly sizeBytes: number;
  /** By the service's clock, in milliseconds since 1970. */
  readonly modifiedAtMs: number;
}

export interface ListedPage {
  readonly objects: readonly ListedObject[];
  /** Where the next page begins; undefined: this is the last. */
  readonly next: string | undefined;
}

/** @param text of a ListObjectsV2 with `encoding-type=url`. @throws Error. */
export function parseListing(text: string): ListedPage {
  if (!/<ListBucketResult[\s>]/.test(text)) throw new Error('its listing is not one');
  const objects = [...text.matchAll(/<Contents>([^]*?)<\/Contents>/g)].map(([, entry = '']): ListedObject => {
    const key = decodeURIComponent((textOf(entry, 'Key') ?? '').replaceAll('+', ' '));
    const sizeBytes = Number(textOf(entry, 'Size') ?? Number.NaN);
    const modifiedAtMs = Date.parse(textOf(entry, 'LastModified') ?? '');
    if (key === '' || !Number.isSafeInteger(sizeBytes) || Number.isNaN(modifiedAtMs)) {
      throw new Error('its listing has an entry without key, size or time');
    }
    return { key, sizeBytes, modifiedAtMs };
  });
  const isCut = textOf(text, 'IsTruncated') === 'true';
  const next = isCut ? textOf(text, 'NextContinuationToken') : undefined;
  if (isCut && next === undefined) throw new Error('its listing does not say where it continues');
  return { objects, next };
}

function textOf(xml: string, name: string): string | undefined {
  const [, text] = new RegExp(`<${name}>([^<]*)</${name}>`).exec(xml) ?? [];
  return text
    ?.replaceAll('&lt;', '<')
    .replaceAll('&gt;', '>')
    .replaceAll('&quot;', '"')
    .replaceAll('&apos;', "'")
    .replaceAll(/&#(x[\da-f]+|\d+);/gi, (_, code: string) => {
      const point = code.startsWith('x') ? Number.parseInt(code.slice(1), 16) : Number(code);
      return point <= 0x10ffff ? String.fromCodePoint(point) : '';
    })
    .replaceAll('&amp;', '&');
}
