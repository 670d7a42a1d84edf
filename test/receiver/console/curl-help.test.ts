import assert from 'node:assert/strict';
import { chmod, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { digestNow } from '../../../common/digest/digest.ts';
import { curlHelp } from '../../../receiver/console/curl-help.ts';
import { prng } from '../../support/prng.ts';
import { runOk } from '../../support/run.ts';
import { tempDir } from '../../support/temp-dir.ts';

const BLOCK = 65_536;
const TICKET = {
  origin: 'https://[2001:db8::7]:8443',
  host: '2001:db8::7',
  port: 8443,
  pin: `sha256//${Buffer.alloc(32, 0xfb).toString('base64')}`,
  token: `ddt1.${'A'.repeat(40)}.${'b'.repeat(40)}`,
};

test('the commands have each part of the ticket filled in once', () => {
  const text = curlHelp(TICKET, BLOCK);
  assert.match(text, /^# paste on the source machine/);
  assert(text.endsWith('\n'));
  for (const part of [TICKET.origin, TICKET.pin, TICKET.token, `BS=${BLOCK}`]) {
    assert.equal(text.split(part).length, 2, `${part} once`);
  }
});

test('pasted into a shell they put the block that was read, with the token in no argument', async () => {
  await using folder = await tempDir();
  const content = prng(1).bytes(5 * BLOCK);
  await writeFile(join(folder.path, 'disk'), content);
  // In place of curl: prints the arguments of each call on a line.
  const curl = join(folder.path, 'curl');
  await writeFile(curl, '#!/bin/sh\nfor word; do printf "%s\\t" "$word"; done\necho\n');
  await chmod(curl, 0o755);
  const script = curlHelp(TICKET, BLOCK).replace(/^I=0 /m, 'I=3 ').replace('/dev/sdX', 'disk');
  const env = { ...process.env, PATH: `${folder.path}:${process.env['PATH'] ?? ''}` };
  const out = await runOk('sh', ['-eu'], { input: script, cwd: folder.path, env });
  const calls = [...out.matchAll(/^.*$/gm)].map(([line]) => line.split('\t').slice(0, -1)).slice(0, -1);
  const common = ['-sS', '-k', '--pinnedpubkey', TICKET.pin, '-H', '@ddt.hdr', '--fail-with-body'];
  const digest = digestNow(content.subarray(3 * BLOCK, 4 * BLOCK)).toString('hex');
  assert.deepEqual(calls, [
    [...common, `${TICKET.origin}/transfer`],
    [...common, '-H', 'Accept: text/plain', `${TICKET.origin}/blocks?state=missing`],
    [...common, '-I', `${TICKET.origin}/blocks/3`],
    [...common, '-T', 'b', `${TICKET.origin}/blocks/3?digest=sha256:${digest}`],
  ]);
  const header = join(folder.path, 'ddt.hdr');
  assert.equal(await readFile(header, 'utf8'), `Authorization: Bearer ${TICKET.token}\n`);
  assert.equal((await stat(header)).mode & 0o777, 0o600);
  assert(!out.includes(TICKET.token), 'the token is in no argument');
});
