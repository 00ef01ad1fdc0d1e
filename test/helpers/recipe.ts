/** Folders to build from, and what came of it. */
import { chmodSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Host, Result } from './host.ts';

/** Makes the folder anew, with files by their paths; one whose content begins with #! can be run. */
export function writeFolder(dir: string, files: Readonly<Record<string, string>>): string {
  rmSync(dir, { recursive: true, force: true });
  for (const [name, content] of Object.entries(files)) {
    const path = join(dir, name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, content);
    if (content.startsWith('#!')) chmodSync(path, 0o755);
  }
  return dir;
}

export interface Built {
  readonly id: string;
  /** Digests of its layers, the lowest first. */
  readonly layers: readonly string[];
  /** Their directories, likewise. */
  readonly directories: readonly string[];
  readonly settings: Readonly<Record<string, unknown>>;
}

export function inspectImage(host: Host, name: string): Built {
  const [{ id, directories, config }] = JSON.parse(host.minict('image', 'inspect', name).stdout);
  return { id, layers: config.rootfs.diff_ids, directories: directories.toReversed(), settings: config.config };
}

/** Builds it, and says what it is. Throws where that fails. */
export function build(host: Host, dir: string, name: string, ...options: string[]): Built {
  const result = host.minict('image', 'build', ...options, dir, name);
  if (result.status !== 0 || result.stdout !== `${name}\n` || result.stderr !== '') {
    throw new Error(`image build: ${JSON.stringify(result)}`);
  }
  return inspectImage(host, name);
}

/** Exit status 125, nothing on stdout, one line on stderr, and indented what a program said. */
export function isRefusal({ status, stdout, stderr }: Result): boolean {
  return status === 125 && stdout === '' && /^minict: [^\n]+\n( {2}[^\n]*\n)*(hint: [^\n]+\n)?$/.test(stderr);
}
