import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runTool } from '../../common/system-tools.ts';

test('a program gets its input and environment, and is heard while it runs', async () => {
  const heard: string[] = [];
  const script = 'echo "$DDT_WORD" >&2; cat; exit 3';
  const env = { DDT_WORD: 'touch the key', PATH: '/nowhere' };
  const input = Buffer.from('a payload');
  const options = { input, env, onComplaint: (text: string): void => void heard.push(text) };
  const outcome = await runTool('sh', ['-c', script], options);
  assert.deepEqual(outcome, { isDone: false, output: 'a payload', complaint: 'touch the key\n' });
  assert.equal(heard.join(''), 'touch the key\n');
});

test('a program without input reads nothing, and one that does not read ends as it likes', async () => {
  assert.equal((await runTool('cat', [])).output, '');
  assert.deepEqual(await runTool('true', [], { input: Buffer.alloc(2 ** 22) }), {
    isDone: true,
    output: '',
    complaint: '',
  });
});
