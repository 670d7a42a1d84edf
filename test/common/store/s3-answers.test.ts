import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseError, parseListing } from '../../../common/store/s3-answers.ts';

const xml = (body: string): string => `<?xml version="1.0"?><ListBucketResult>${body}</ListBucketResult>`;
const entry = (key: string): string =>
  `<Contents><Key>${key}</Key><LastModified>2026-11-29T14:30:00.123Z</LastModified>` +
  '<ETag>&quot;e&quot;</ETag><Size>4194304</Size><Owner><ID>x</ID></Owner></Contents>';

test('a listing has keys, sizes and times, and where it continues', () => {
  const modifiedAtMs = Date.parse('2026-11-29T14:30:00.123Z');
  const next = '<NextContinuationToken>a&amp;b&#x2F;&#47;</NextContinuationToken>';
  const text = `<IsTruncated>true</IsTruncated>${entry('a%2Fb+c%26d')}${entry('e')}${next}`;
  assert.deepEqual(parseListing(xml(text)), {
    objects: [
      { key: 'a/b c&d', sizeBytes: 4_194_304, modifiedAtMs },
      { key: 'e', sizeBytes: 4_194_304, modifiedAtMs },
    ],
    next: 'a&b//',
  });
  assert.deepEqual(parseListing(xml('<IsTruncated>false</IsTruncated>')), { objects: [], next: undefined });
});

test('a listing that leaves something out is refused rather than believed', () => {
  for (const text of [
    '<html>Bad Gateway</html>',
    '',
    xml('<IsTruncated>true</IsTruncated>'),
    xml('<Contents><Key>a</Key><Size>1</Size></Contents>'),
    xml(entry('a').replace('4194304', '4e99x')),
    xml(entry('')),
  ]) {
    assert.throws(() => parseListing(text), /its listing/, text);
  }
});

test('an error says its code, whether it passes, and in which region the bucket is', () => {
  const denied = parseError(
    403,
    '<Error><Code>AccessDenied</Code><Message>No &lt;way&gt;</Message></Error>',
    {},
  );
  assert.equal(denied.message, '403 AccessDenied: No <way>');
  assert.deepEqual([denied.isPassing, denied.isFull, denied.region], [false, false, undefined]);
  assert(parseError(403, '<Error><Code>QuotaExceeded</Code></Error>', {}).isFull);
  assert(parseError(400, '<Error><Code>RequestTimeout</Code></Error>', {}).isPassing);
  for (const status of [429, 500, 502, 503, 504]) assert(parseError(status, '', {}).isPassing, `${status}`);
  for (const status of [400, 401, 403, 405, 409, 411, 501])
    assert(!parseError(status, '', {}).isPassing, `${status}`);
  assert.equal(parseError(301, '', { 'x-amz-bucket-region': 'eu-1' }).region, 'eu-1');
  assert.equal(parseError(502, '<html>', {}).message, '502');
});
