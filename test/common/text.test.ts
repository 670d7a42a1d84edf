import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TransferError } from '../../common/errors.ts';
import { failureText } from '../../common/text.ts';

test('a failure is one line of error and one of hint, without a token', () => {
  const error = new TransferError('usage', 'cannot read #token=ddt1.abcd.efgh', {
    hint: 'try ddt1.abcd.efgh',
  });
  assert.equal(
    failureText('ddt-send', error),
    'ddt-send: error: cannot read #token=ddt1.…\nddt-send: hint: try ddt1.…\n',
  );
  assert.equal(
    failureText('ddt-receive', new TransferError('usage', 'no target given')),
    'ddt-receive: error: no target given\n',
  );
});
