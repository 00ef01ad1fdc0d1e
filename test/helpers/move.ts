/** Two throwaway hosts, and a container that goes from one to the other. */
import { expect } from 'vitest';
import { type Host, MINICT, type Result } from './host.ts';

/** Facts of a container's files, sorted, as the kernel shows them in its mounts: all but what is the host's in there. */
const FACTS = `import os, sys, hashlib
root = sys.argv[1].encode(); first = {}
for top, folders, files in os.walk(root):
  folders.sort()
  if top == root: folders[:] = [f for f in folders if f not in (b'proc', b'sys', b'dev')]
  for name in sorted(folders + files) + ([b'.'] if top == root else []):
    path = os.path.join(top, name); s = os.lstat(path); short = path[len(root):]
    if short in (b'/etc/hosts', b'/etc/hostname', b'/etc/resolv.conf'): continue
    regular = (s.st_mode & 0o170000) == 0o100000
    twin = first.setdefault((s.st_dev, s.st_ino), short) if regular else b''
    digest = hashlib.sha256(open(path, 'rb').read()).hexdigest()[:16] if regular else ''
    folder = (s.st_mode & 0o170000) == 0o040000
    holes = regular and s.st_blocks * 512 < s.st_size
    print(short, oct(s.st_mode), s.st_uid, s.st_gid, '' if folder else (s.st_nlink, s.st_size), s.st_rdev, s.st_mtime_ns, holes,
      os.readlink(path) if os.path.islink(path) else '', digest, twin if twin != short else '',
      [(x, os.getxattr(path, x, follow_symlinks=False)) for x in sorted(os.listxattr(path, follow_symlinks=False))])`;

/** Of a container that is up. */
export function filesOf(host: Host, name: string): string[] {
  const rootfs = `${host.root}/containers/${name}/rootfs`;
  const result = host.run(['nsenter', `--mount=/run/mntns/${name}`, 'python3', '-c', FACTS, rootfs]);
  expect(result).toMatchObject({ status: 0, stderr: '' });
  return result.stdout.split('\n').filter(Boolean);
}

/** Runs a script (python) in a container's files, with all that the host's tools can do: `root` is where they are. */
export function scriptIn(host: Host, name: string, script: string): void {
  const rootfs = `${host.root}/containers/${name}/rootfs`;
  const argv = [
    'nsenter',
    `--mount=/run/mntns/${name}`,
    'python3',
    '-c',
    `import os\nos.chdir('${rootfs}')\n${script}`,
  ];
  expect(host.run(argv)).toEqual({ status: 0, stdout: '', stderr: '' });
}

/** `save … | load …`, each on its host. */
export async function pipe(
  from: Host,
  save: readonly string[],
  to: Host,
  load: readonly string[],
): Promise<{ saved: Result; loaded: Result }> {
  const saving = Bun.spawn(from.inside([MINICT, 'save-container', ...save]), {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: from.env,
  });
  const loading = Bun.spawn(to.inside([MINICT, 'load-container', ...load]), {
    stdio: [saving.stdout, 'pipe', 'pipe'],
    env: to.env,
  });
  const [saveError, loadError, stdout] = await Promise.all(
    [saving.stderr, loading.stderr, loading.stdout].map((stream) => new Response(stream).text()),
  );
  return {
    saved: { status: await saving.exited, stdout: '', stderr: saveError ?? '' },
    loaded: { status: await loading.exited, stdout: stdout ?? '', stderr: loadError ?? '' },
  };
}

/** A container goes over, without a word on either side; returns its name there. */
export async function move(
  from: Host,
  save: readonly string[],
  to: Host,
  load: readonly string[] = [],
): Promise<string> {
  const { saved, loaded } = await pipe(from, save, to, load);
  expect(saved).toEqual({ status: 0, stdout: '', stderr: '' });
  expect(loaded).toMatchObject({ status: 0, stderr: '' });
  return loaded.stdout.trim();
}
