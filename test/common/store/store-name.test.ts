import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isStoreName, parseStoreName } from '../../../common/store/store-name.ts';
import { coded } from '../../support/coded.ts';

test('a name leads to a bucket, a prefix, and perhaps a copy and its time, in one spelling each', () => {
  const when = '2026-11-29T14:30:00Z';
  for (const [text, store, prefix, copy, time] of [
    ['s3://disks', 's3://disks', '', undefined, undefined],
    ['S3://disks/', 's3://disks', '', undefined, undefined],
    ['s3://disks/a/b/', 's3://disks/a/b', 'a/b/', undefined, undefined],
    ['s3://disks#web1', 's3://disks', '', 'web1', undefined],
    ['s3://disks/a#web-1.old', 's3://disks/a', 'a/', 'web-1.old', undefined],
    [`s3://disks/a#web1@${when}`, 's3://disks/a', 'a/', 'web1', when],
    ['s3://d.e-f/a#w@2026-11-29T14:30:00.123Z', 's3://d.e-f/a', 'a/', 'w', '2026-11-29T14:30:00.123Z'],
  ] as const) {
    assert(isStoreName(text), text);
    const parsed = parseStoreName(text);
    assert.deepEqual(
      [parsed.store, parsed.prefix, parsed.copy, parsed.when],
      [store, prefix, copy, time],
      text,
    );
    assert.deepEqual(parseStoreName(parsed.name), parsed, 'its own spelling');
  }
});

test('what is not such a name, or would be followed in part only, is refused', () => {
  for (const [text, message] of [
    ['s3://', /'' is not the name of a bucket/],
    ['s3:///x', /'' is not the name of a bucket/],
    ['s3://Disks', /'Disks' is not the name of a bucket/],
    ['s3://host:9000/disks', /'host:9000' is not the name/],
    ['s3://disks/a//b', /'a\/\/b' is not a prefix/],
    ['s3://disks/a b', /not a prefix/],
    ['s3://disks/a?x=1', /not a prefix/],
    ['s3://disks/a/../b', /no \. and \.\./],
    [`s3://disks/${'a'.repeat(801)}`, /over 800 characters/],
    ['s3://disks/a#', /'' is not a name for a copy/],
    ['s3://disks/a#b/c', /'b\/c' is not a name for a copy/],
    ['s3://disks/a#.hidden', /not a name for a copy/],
    ['s3://disks/a#b#c', /not a name for a copy/],
    ['s3://disks/a#b@yesterday', /'yesterday' is not a time as --list shows it/],
    ['s3://disks/a#b@', /'' is not a time/],
  ] as const) {
    assert.throws(() => parseStoreName(text), coded('usage', { message, hint: /s3:\/\/bucket/ }), text);
  }
  for (const text of ['/dev/s3', 's3:x', 'https://s3.example.com/disks']) assert(!isStoreName(text), text);
});
