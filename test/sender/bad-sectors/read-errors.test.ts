import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  ReadErrors,
  UNREADABLE_RUN_BYTES_MAX,
  type OnReadError,
} from '../../../sender/bad-sectors/read-errors.ts';
import { ReadMap } from '../../../sender/bad-sectors/read-map.ts';
import { coded } from '../../support/coded.ts';

const SIZE = 64 * 1024 * 1024;

function failure(code: string): Error {
  return Object.assign(new Error(code), { code });
}

function errorsOf(onReadError: OnReadError, isGone = false): { errors: ReadErrors; map: ReadMap } {
  const map = new ReadMap(SIZE);
  const options = { path: '/dev/sdc', onReadError, map, runOut: undefined, isGone: () => isGone };
  return { errors: new ReadErrors(options), map };
}

test('a bad sector stops the copy, and is named and recorded in the map', () => {
  const { errors, map } = errorsOf('stop');
  errors.refuse(0, 65_536, failure('EIO'));
  assert.throws(
    () => errors.note(5120, 512, failure('EIO')),
    coded('source-read', {
      message: /^cannot read 512 bytes at offset 5120 of \/dev\/sdc: input\/output error \(sector 10\)$/,
      hint: /^run the same command again to retry, or with --on-read-error zero to continue: /,
    }),
  );
  assert.deepEqual(map.areas()[1], { offset: 5120, length: 512, status: '-' });
});

test('with zeros the copy continues until too much in a row is unreadable, over all lanes', () => {
  const { errors } = errorsOf('zero');
  const half = UNREADABLE_RUN_BYTES_MAX / 2;
  errors.note(half, half, failure('ENODATA'));
  errors.note(3 * half, half, failure('EIO'));
  errors.note(0, half, failure('EIO'));
  assert.throws(
    () => errors.note(2 * half, 512, failure('EIO')),
    coded('source-read', {
      message: /^more than 16 MiB in a row of \/dev\/sdc, up to offset 16777728, cannot be read: input/,
      hint: /ddrescue first; with --mapfile/,
    }),
  );
});

test('a disk that is gone is not taken for one with bad sectors', () => {
  for (const onReadError of ['stop', 'zero'] as const) {
    for (const code of ['ENXIO', 'ENODEV', 'ENOMEDIUM', 'ENOTCONN', 'ESTALE']) {
      const { errors, map } = errorsOf(onReadError);
      assert.throws(
        () => errors.refuse(4096, 512, failure(code)),
        coded('source-read', { message: /^cannot read \/dev\/sdc at offset 4096: /, hint: /cable/ }),
        code,
      );
      assert.equal(map.changes, 0);
    }
    const { errors } = errorsOf(onReadError, true);
    assert.throws(
      () => errors.refuse(4096, 512, failure('EIO')),
      coded('source-read', { message: /: the device is gone$/ }),
    );
  }
});

test('failures of this process say nothing about the disk', () => {
  for (const code of ['ENOMEM', 'EBADF', 'EINVAL']) {
    const { errors } = errorsOf('zero');
    assert.throws(
      () => errors.refuse(4096, 512, failure(code)),
      coded('source-read', { message: /^cannot read 512 bytes at offset 4096 of \/dev\/sdc: / }),
    );
  }
});
