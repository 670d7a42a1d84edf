/** Which programs run, whatever PATH says: root runs them, and the current folder may be anybody's. */
import assert from 'node:assert/strict';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { toolPath } from '../../common/system-tools.ts';
import { loopDevice, skipUnlessLoop } from '../support/loop-device.ts';
import { MIB, OWN_HOST, PROGRAMS, environment } from '../support/processes.ts';
import { start } from '../support/run.ts';
import { tempDir } from '../support/temp-dir.ts';

/** All that a receiver and its launcher run at the start. */
const TOOLS = ['dirname', 'flock', 'losetup', 'lsblk', 'node', 'readlink', 'setpriv', 'wipefs'];

test('the folders of the system come first, then the absolute ones of PATH', () => {
  const system = '/usr/sbin:/usr/bin:/sbin:/bin';
  assert.equal(toolPath('/opt/bin:/home/me/bin'), `${system}:/opt/bin:/home/me/bin`);
  assert.equal(toolPath(':.:bin:/opt/bin:../x:'), `${system}:/opt/bin`);
  for (const path of ['', ':', '.', undefined]) assert.equal(toolPath(path), system);
});

for (const [path, what] of [
  [undefined, 'no PATH'],
  ['', 'an empty PATH'],
  [':.:planted', 'empty and relative elements in PATH'],
] as const) {
  test(`programs of the current folder never run with ${what}`, { skip: skipUnlessLoop }, async () => {
    await using folder = await tempDir();
    await using device = await loopDevice(8 * MIB);
    const [cwd, ran] = [join(folder.path, 'cwd'), join(folder.path, 'ran')];
    for (const each of [cwd, join(cwd, 'planted'), ran]) await mkdir(each);
    for (const program of TOOLS) {
      const script = `#!/bin/sh\n: >'${ran}/${program}'\n`;
      for (const place of [cwd, join(cwd, 'planted')]) {
        await writeFile(join(place, program), script, { mode: 0o755 });
      }
    }
    for (const target of [device.path, join(folder.path, 'disk.img')]) {
      const args = ['--listen', `${OWN_HOST}:0`, '--state-dir', join(folder.path, 'state'), target];
      const env = environment({ PATH: path });
      await using receiver = await start(join(PROGRAMS, 'ddt-receive'), args, { env, cwd });
      await receiver.waitForLine(/^listening on /);
    }
    assert.deepEqual(await readdir(ran), []);
  });
}
