/** A second ticket, for those who may only look. */
import assert from 'node:assert/strict';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { OWN_HOST, runReceiver, startReceiver } from '../support/processes.ts';
import { unlessInstalled } from '../support/requires.ts';
import { run } from '../support/run.ts';
import { tempDir } from '../support/temp-dir.ts';

const skip = unlessInstalled('curl');
/** The first lines of PROTOCOL.md. */
const PREAMBLE = `
U=\${TICKET%%/#*}
PIN=\${TICKET#*pin=}; PIN=\${PIN%%&*}
H="Authorization: Bearer \${TICKET#*token=}"
ddt() { curl -sS -k --pinnedpubkey "$PIN" -H "$H" --fail-with-body "$@"; }
`;

test('the ticket of --read-ticket-file lets curl read, and nothing else', { skip }, async () => {
  await using folder = await tempDir();
  const ticketFile = join(folder.path, 'read-ticket');
  const target = join(folder.path, 'target.img');
  const options = ['--read-ticket-file', ticketFile];
  await using receiver = await startReceiver({ target, folder: folder.path, options });
  assert.equal((await stat(ticketFile)).mode & 0o777, 0o600);
  const sh = async (script: string): Promise<string> => {
    const { stdout, stderr } = await run('bash', ['-c', `TICKET=$(cat ${ticketFile})${PREAMBLE}${script}`]);
    return stdout + stderr;
  };
  const claim = '{"size":65536,"blockSize":65536,"source":{"description":"by hand"}}';
  assert.match(await sh(`ddt -X PUT -d '${claim}' $U/transfer`), /"code":"scope"/);
  assert.match(await sh('ddt $U/transfer'), /"state":"unclaimed"/);
  assert.equal((await receiver.request('PUT', '/transfer', Buffer.from(claim))).status, 201);
  const zeros = Buffer.from('{"ranges":[[0,1]]}');
  assert.equal((await receiver.request('POST', '/zero', zeros)).status, 200);
  assert.match(await sh('ddt $U/blocks'), /^\[\{"first":0,"count":1,"state":"(durable|verified)"\}\]\n$/);
  assert.equal(await sh('ddt $U/blocks/0 | tr -d "\\0" | wc -c'), '0\n');
  assert.match(await sh('ddt -X POST $U/verify'), /"code":"scope"/);
});

test('both tickets in one file are refused before anything is done', async () => {
  await using folder = await tempDir();
  const file = join(folder.path, 'ticket');
  const place = ['--listen', `${OWN_HOST}:0`, '--state-dir', join(folder.path, 'state')];
  const options = ['--ticket-file', file, '--read-ticket-file', file];
  const ended = await runReceiver([...place, ...options, join(folder.path, 'target.img')]);
  assert.equal(ended.status, 2);
  assert.match(ended.stderr, /--ticket-file and --read-ticket-file are the same file/);
});
