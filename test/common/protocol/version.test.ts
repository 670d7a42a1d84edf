import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { PROTOCOL_VERSION } from '../../../common/protocol/protocol.ts';
import { VERSION_TEXT } from '../../../common/protocol/version.ts';

test('the version is that of the package', async () => {
  const file = new URL('../../../package.json', import.meta.url);
  const { version }: { version: string } = JSON.parse(await readFile(file, 'utf8'));
  const expected = `dd-transfer ${version}, protocol ${PROTOCOL_VERSION}, Node.js ${process.version}`;
  assert.equal(VERSION_TEXT, expected);
});
