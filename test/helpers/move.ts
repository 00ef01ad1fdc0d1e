/** Two throwaway hosts, and a container that goes from one to the other. */
import { expect } from 'vitest';
import { type Host, MINICT, type Result } from './host.ts';
import { containerFacts } from './tree-facts.ts';

/** What the kernel shows of a container's files that is not the host's; its root directory's first. */
export function filesOf(host: Host, name: string): string[] {
  const root = host.minict('exec', name, 'stat', '-c', '%a %u %g %y', '/').stdout;
  return [root, ...containerFacts(host, name)];
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

/** The members of a saved container's tar, in their order. */
export function membersOf(tar: Buffer): { name: string; content: Buffer }[] {
  const members: { name: string; content: Buffer }[] = [];
  for (let at = 0; tar[at] !== 0; ) {
    const text = (start: number, length: number) => tar.toString('latin1', at + start, at + start + length);
    const size = Number.parseInt(text(124, 11), 8);
    members.push({ name: text(0, 100).replace(/\0.*/s, ''), content: tar.subarray(at + 512, at + 512 + size) });
    at += 512 + Math.ceil(size / 512) * 512;
  }
  return members;
}
