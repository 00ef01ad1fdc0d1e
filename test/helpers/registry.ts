/** Debian's docker-registry on the loopback of a throwaway host, with its storage in the test's scratch folder. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { eventually, type Host } from './host.ts';

/** In the second place where its package is not installed (bin/prepare.sh). */
const PROGRAM = Bun.which('docker-registry') ?? '/usr/local/lib/minict/docker-registry';

export interface Registry {
  /** `localhost:PORT`, of the throwaway host. */
  readonly address: string;
  readonly storage: string;
  stop(): Promise<void>;
}

/** skopeo and podman keep caches below this; a throwaway host has its own. */
export function hideContainersCache(host: Host): void {
  const script = 'mkdir -p "$0" && { mountpoint -q "$0" || mount -t tmpfs containers "$0"; }';
  const { status, stderr } = host.run(['sh', '-c', script, '/var/lib/containers']);
  if (status !== 0) throw new Error(stderr);
}

/** `password` is of the user `lab`; without one everybody may do everything. */
export async function startRegistry(host: Host, port = 5000, password?: string): Promise<Registry> {
  hideContainersCache(host);
  const dir = join(host.dir, `registry-${port}`);
  const storage = join(dir, 'storage');
  mkdirSync(storage, { recursive: true });
  const htpasswd = join(dir, 'htpasswd');
  const auth = password === undefined ? {} : { auth: { htpasswd: { realm: 'lab', path: htpasswd } } };
  if (password !== undefined) {
    writeFileSync(htpasswd, `lab:${Bun.password.hashSync(password, { algorithm: 'bcrypt', cost: 4 })}\n`);
  }
  const config = join(dir, 'config.json');
  writeFileSync(
    config,
    JSON.stringify({
      version: '0.1',
      log: { level: 'error', accesslog: { disabled: true } },
      storage: { filesystem: { rootdirectory: storage }, delete: { enabled: true } },
      http: { addr: `127.0.0.1:${port}` },
      ...auth,
    }),
  );
  const child = Bun.spawn(host.inside([PROGRAM, 'serve', config]), {
    stdio: ['ignore', 'ignore', 'ignore'],
    env: { ...host.env, OTEL_TRACES_EXPORTER: 'none' },
  });
  const answers = () => host.run(['curl', '-s', '-o', '/dev/null', `http://127.0.0.1:${port}/v2/`]).status === 0;
  if (!(await eventually(answers))) throw new Error('docker-registry did not come up');
  return {
    address: `localhost:${port}`,
    storage,
    stop: async () => {
      child.kill();
      await child.exited;
    },
  };
}
