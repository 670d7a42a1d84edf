import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TransferError } from '../../common/errors.ts';
import { failureText, printable } from '../../common/text.ts';

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

test('nothing that is invisible, reverses text, or begins a line is shown; everything else is', () => {
  const hidden = [
    0x00, 0x07, 0x1b, 0x7f, 0x85, 0x9b, 0xad, 0x34f, 0x61c, 0x115f, 0x180e, 0x3164, 0xfe0f, 0xfeff,
  ];
  for (let code = 0x200b; code <= 0x200f; code++) hidden.push(code);
  for (let code = 0x2028; code <= 0x202e; code++) hidden.push(code);
  for (let code = 0x2060; code <= 0x206f; code++) hidden.push(code);
  hidden.push(0xd800, 0xdfff, 0xe0041, 0xffff);
  for (const code of hidden) {
    const text = `a${String.fromCodePoint(code)}b`;
    assert.equal(printable(text), 'a?b', code.toString(16));
  }
  for (const text of ['ATA WDC', 'Größe', '磁碟', '💾', '\u00a0', 'שלום'])
    assert.equal(printable(text), text);
  const error = new TransferError('usage', 'a\u202eb', { hint: 'c\u2028d' });
  assert.equal(failureText('x', error), 'x: error: a?b\nx: hint: c?d\n');
});
