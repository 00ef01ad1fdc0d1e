/**
 * A registry that fails in the way its arguments say; run inside a throwaway host: `faulty-registry.ts PORT FAULT TIMES`.
 * It has the image `lab:1` of one layer, is itself again after TIMES failures, and writes a line for each to stdout.
 */
import { createServer } from 'node:net';
import { gzipSync } from 'node:zlib';
import { sha256 } from './oci-layout.ts';
import { archive } from './tar.ts';

const [port = '', fault = '', times = '0'] = process.argv.slice(2);
let failures = Number(times);

const tar = archive({ name: 'big', content: 'x'.repeat(300_000) });
const layer = gzipSync(tar, { level: 0 });
const config = JSON.stringify({
  architecture: 'amd64',
  os: 'linux',
  config: {},
  rootfs: { type: 'layers', diff_ids: [sha256(tar)] },
});
const TYPE = 'application/vnd.oci.image';
const manifest = JSON.stringify({
  schemaVersion: 2,
  mediaType: `${TYPE}.manifest.v1+json`,
  config: { mediaType: `${TYPE}.config.v1+json`, digest: sha256(config), size: config.length },
  layers: [{ mediaType: `${TYPE}.layer.v1.tar+gzip`, digest: sha256(layer), size: layer.length }],
});

const FILES: Record<string, { readonly type: string; readonly content: Buffer }> = {
  '/v2/': { type: 'application/json', content: Buffer.from('{}') },
  '/v2/lab/manifests/1': { type: `${TYPE}.manifest.v1+json`, content: Buffer.from(manifest) },
  [`/v2/lab/blobs/${sha256(config)}`]: { type: 'application/octet-stream', content: Buffer.from(config) },
  [`/v2/lab/blobs/${sha256(layer)}`]: { type: 'application/octet-stream', content: layer },
};

function reply(status: string, type: string, content: Buffer, headers = ''): Buffer {
  const head = `HTTP/1.1 ${status}\r\nContent-Type: ${type}\r\nContent-Length: ${content.length}\r\nConnection: close\r\n`;
  return Buffer.concat([Buffer.from(`${head}${headers}\r\n`), content]);
}

function refusal(status: string, code: string, headers = ''): Buffer {
  return reply(status, 'application/json', Buffer.from(JSON.stringify({ errors: [{ code, message: code }] })), headers);
}

/** In place of what is asked for. */
function faulty(whole: Buffer): Buffer {
  switch (fault.split(' ')[0]) {
    case '401':
      return refusal('401 Unauthorized', 'UNAUTHORIZED', 'WWW-Authenticate: Basic realm="lab"\r\n');
    case '500':
      return refusal('500 Internal Server Error', 'UNKNOWN');
    case 'close':
      return Buffer.alloc(0);
    case 'half':
      return whole.subarray(0, whole.length / 2);
    default:
      throw new Error(`no such fault: ${fault}`);
  }
}

function answer(path: string): Buffer {
  const file = FILES[path];
  if (file === undefined) return refusal('404 Not Found', 'MANIFEST_UNKNOWN');
  const whole = reply('200 OK', file.type, file.content);
  const isMet = fault.endsWith('layer') ? file.content === layer : path.includes('/manifests/');
  if (failures <= 0 || !isMet) return whole;
  failures -= 1;
  console.log(path);
  return faulty(whole);
}

createServer((socket) => {
  socket.on('error', () => {});
  socket.once('data', (data) => {
    // Not HTTP: a client that tries TLS first.
    const path = / (\/\S*) HTTP/.exec(data.toString('latin1'))?.[1];
    if (path === undefined) socket.destroy();
    else socket.end(answer(path));
  });
}).listen(Number(port), '127.0.0.1', () => console.log('ready'));
