import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { parseSections, readProfile } from '../../../common/store/aws-profile.ts';
import { credentialSource, parseCredentials } from '../../../common/store/credentials.ts';
import { coded } from '../../support/coded.ts';
import { runOk } from '../../support/run.ts';
import { tempDir } from '../../support/temp-dir.ts';
import { skipUnlessNamespaces } from '../../support/two-machines.ts';

const NO_INSTANCE = { AWS_EC2_METADATA_DISABLED: 'true' };

async function find(environment: Record<string, string>): Promise<unknown> {
  const all = { ...NO_INSTANCE, ...environment };
  return await credentialSource(all, await readProfile(all))();
}

function keys(accessKeyId: string, secretAccessKey: string, sessionToken?: string): object {
  return { accessKeyId, secretAccessKey, sessionToken, expiresAtMs: Infinity };
}

test('sections are read as the tools of Amazon read them', () => {
  const text = `
# a comment
[default]
aws_access_key_id = A
aws_secret_access_key=a/b+c==
s3 =
  addressing_style = path
; another
[profile   work.eu]
Region = eu-central-1
`;
  assert.deepEqual(
    [...parseSections(text)],
    [
      ['default', { aws_access_key_id: 'A', aws_secret_access_key: 'a/b+c==', s3: '' }],
      ['profile work.eu', { region: 'eu-central-1' }],
    ],
  );
});

test('the environment comes before the files, and a profile is the one that is named', async () => {
  await using folder = await tempDir();
  const home = { HOME: folder.path };
  await assert.rejects(find(home), coded('usage', { message: /no credentials/, hint: /AWS_ACCESS_KEY_ID/ }));
  await mkdir(join(folder.path, '.aws'));
  const profiles = [
    '[default]',
    'aws_access_key_id=D',
    'aws_secret_access_key=d',
    '[work]',
    'aws_access_key_id=W',
    'aws_secret_access_key=w',
    'aws_session_token=t',
  ];
  await writeFile(join(folder.path, '.aws/credentials'), profiles.join('\n'));
  await writeFile(
    join(folder.path, '.aws/config'),
    '[profile work]\nregion=eu-1\n[profile bare]\nregion=eu-2',
  );
  assert.deepEqual(await find(home), keys('D', 'd'));
  assert.deepEqual(await find({ ...home, AWS_PROFILE: 'work' }), keys('W', 'w', 't'));
  assert.equal((await readProfile({ ...home, AWS_PROFILE: 'work' }))['region'], 'eu-1');
  const given = { AWS_ACCESS_KEY_ID: 'E', AWS_SECRET_ACCESS_KEY: 'e' };
  assert.deepEqual(await find({ ...home, ...given }), keys('E', 'e'));
  await assert.rejects(
    find({ ...home, AWS_PROFILE: 'wrok' }),
    coded('usage', { message: /no profile wrok/ }),
  );
  await assert.rejects(
    find({ ...home, AWS_PROFILE: 'bare' }),
    coded('usage', { message: /bare has no aws_/ }),
  );
  const elsewhere = { ...home, AWS_SHARED_CREDENTIALS_FILE: join(folder.path, '.aws') };
  await assert.rejects(find(elsewhere), coded('usage', { message: /cannot read .*\.aws/ }));
});

test("a container's agent is asked with its token, and again before its keys end", async () => {
  await using folder = await tempDir();
  let count = 0;
  const server = createServer((request, response) => {
    count++;
    const isKnown = request.headers.authorization === 'secret';
    const keysUntil = {
      AccessKeyId: `K${count}`,
      SecretAccessKey: 's',
      Token: 't',
      Expiration: new Date(Date.parse('2000-01-01') + count).toISOString(),
    };
    response.writeHead(isKnown ? 200 : 401).end(JSON.stringify(keysUntil));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/keys`;
  const environment = { HOME: folder.path, AWS_CONTAINER_CREDENTIALS_FULL_URI: url };
  await assert.rejects(find(environment), coded('usage', { message: /cannot get credentials from .* 401/ }));
  const allowed = { ...NO_INSTANCE, ...environment, AWS_CONTAINER_AUTHORIZATION_TOKEN: 'secret' };
  const source = credentialSource(allowed, {});
  assert.equal((await source()).accessKeyId, 'K2');
  assert.equal((await source()).accessKeyId, 'K3', 'the others have ended');
  server.close();
  server.closeAllConnections();
});

test('an answer without keys is refused', () => {
  const text =
    '{"Code":"Success","AccessKeyId":"A","SecretAccessKey":"s","Token":"t",' +
    '"Expiration":"2030-01-01T00:00:00Z"}';
  const expiresAtMs = Date.parse('2030-01-01T00:00:00Z');
  assert.deepEqual(parseCredentials(text), { ...keys('A', 's', 't'), expiresAtMs });
  for (const bad of ['', '[]', 'null', '{"AccessKeyId":"A"}', '{"AccessKeyId":"","SecretAccessKey":"s"}']) {
    assert.throws(() => parseCredentials(bad), bad);
  }
});

test(
  'a machine with a role asks its metadata service, with a token',
  { skip: skipUnlessNamespaces },
  async () => {
    const script = join(import.meta.dirname, '../../support/instance-role.ts');
    const prepare = 'ip link set lo up && ip address add 169.254.169.254/32 dev lo && exec "$0" "$@"';
    const words = ['--net', 'sh', '-c', prepare, process.execPath, script];
    const printed = await runOk('unshare', words);
    const expiresAtMs = Date.parse('2100-01-01T00:00:00Z');
    assert.deepEqual(JSON.parse(printed), { ...keys('A', 's', 't'), expiresAtMs });
  },
);
