/**
 * Run in a network namespace that has the address of an instance's metadata service: serves that, asks for
 * credentials as the product does, and prints them.
 */
import { once } from 'node:events';
import { createServer } from 'node:http';
import { credentialSource } from '../../common/store/credentials.ts';

const TOKEN = 'token-of-version-2';
const ROLES = '/latest/meta-data/iam/security-credentials/';

const server = createServer((request, response) => {
  const { method, url, headers } = request;
  if (method === 'PUT' && url === '/latest/api/token') {
    const isTimed = Number(headers['x-aws-ec2-metadata-token-ttl-seconds']) > 0;
    response.writeHead(isTimed ? 200 : 400).end(TOKEN);
  } else if (headers['x-aws-ec2-metadata-token'] !== TOKEN) response.writeHead(401).end();
  else if (url === ROLES) response.end('writer\n');
  else if (url === `${ROLES}writer`) {
    const keys = { AccessKeyId: 'A', SecretAccessKey: 's', Token: 't', Expiration: '2100-01-01T00:00:00Z' };
    response.end(JSON.stringify(keys));
  } else response.writeHead(404).end();
});
server.listen(80, '169.254.169.254');
await once(server, 'listening');
process.stdout.write(JSON.stringify(await credentialSource({}, {})()));
server.close();
server.closeAllConnections();
