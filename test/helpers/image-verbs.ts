/** Every verb that changes images, with what it needs before; what must hold after a kill anywhere in it. */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, expect } from 'vitest';
import { Host } from './host.ts';
import { imageNames, imageTree, storeFiles } from './images.ts';
import { Layout } from './oci-layout.ts';
import { hideContainersCache, type Registry, startRegistry } from './registry.ts';
import { archive } from './tar.ts';

export interface ImageVerb {
  readonly title: (typeof IMAGE_VERBS)[number];
  readonly words: readonly string[];
  /** The image `old` is there before; `new` may be there afterwards. */
  readonly adds: boolean;
  /** It takes `old` away. */
  readonly removes?: boolean;
  /** How many host commands, and changes of its own, it has at least. */
  readonly commands: number;
  readonly changes: number;
}

/** Titles of the verbs. */
export const IMAGE_VERBS = ['pull', 'import', 'import of a folder', 'load', 'push', 'save', 'rm'] as const;

/** Files of the user's, and a registry, for the verbs. */
export class ImageLab {
  readonly host: Host;
  readonly dir: string;
  readonly registry: Registry;
  private readonly verbs: readonly ImageVerb[];

  private constructor(host: Host, registry: Registry) {
    this.host = host;
    this.registry = registry;
    this.dir = join(host.dir, 'lab');
    const at = (file: string) => join(this.dir, file);
    const place = `docker://${registry.address}`;
    this.verbs = [
      { title: 'pull', words: ['image', 'pull', `${place}/lab/new:1`, 'new'], adds: true, commands: 5, changes: 20 },
      { title: 'import', words: ['image', 'import', at('new.tar.gz'), 'new'], adds: true, commands: 3, changes: 12 },
      {
        title: 'import of a folder',
        words: ['image', 'import', at('tree'), 'new'],
        adds: true,
        commands: 4,
        changes: 12,
      },
      { title: 'load', words: ['image', 'load', '-i', at('load.tar')], adds: true, commands: 5, changes: 20 },
      { title: 'push', words: ['image', 'push', 'old', `${place}/lab/pushed:1`], adds: false, commands: 2, changes: 5 },
      { title: 'save', words: ['image', 'save', 'old', '-o', at('saved.tar')], adds: false, commands: 2, changes: 5 },
      { title: 'rm', words: ['image', 'rm', 'old'], adds: false, removes: true, commands: 2, changes: 5 },
    ];
  }

  static async create(host: Host): Promise<ImageLab> {
    hideContainersCache(host);
    const lab = new ImageLab(host, await startRegistry(host));
    const { dir } = lab;
    mkdirSync(join(dir, 'tree'), { recursive: true });
    writeFileSync(join(dir, 'tree/file'), 'new');
    writeFileSync(join(dir, 'new.tar.gz'), gzipSync(archive({ name: 'file', content: 'new' })));
    const layout = new Layout(join(host.dir, 'layout'));
    const first = { tar: archive({ name: 'first', content: 'x' }) };
    layout.add('old', { layers: [first, { tar: archive({ name: 'file', content: 'old' }) }] });
    layout.add('new', {
      layers: [
        first,
        { tar: archive({ name: 'a/b', content: 'b' }) },
        { tar: archive({ name: 'file', content: 'new' }) },
      ],
    });
    lab.must('image', 'pull', layout.source('old'), 'old');
    lab.must('image', 'pull', layout.source('new'), 'new');
    lab.must('image', 'push', 'new', `docker://${lab.registry.address}/lab/new:1`);
    lab.must('image', 'save', 'new', '-o', join(dir, 'load.tar'));
    lab.must('image', 'rm', 'new');
    return lab;
  }

  verb(title: (typeof IMAGE_VERBS)[number]): ImageVerb {
    return this.verbs.find((verb) => verb.title === title) as ImageVerb;
  }

  must(...words: string[]): string {
    const { status, stdout, stderr } = this.host.minict(...words);
    expect({ status, stderr }, words.join(' ')).toEqual({ status: 0, stderr: '' });
    return stdout;
  }

  private content(name: string): string {
    return readFileSync(join(imageTree(this.host, name), 'file'), 'utf8');
  }

  /** What the user has beside the store. */
  files(): string[] {
    return readdirSync(this.dir).sort();
  }

  /** After a kill of `verb`: what is visible is whole, the same again works, and a prune leaves what was there before. */
  expectRecovery(verb: ImageVerb, before: readonly string[], point: string): void {
    const { host } = this;
    for (const name of imageNames(host)) expect(this.content(name), point).toBe(name);
    if (!verb.removes) expect(imageNames(host), point).toContain('old');
    const saved = join(this.dir, 'saved.tar');
    if (existsSync(saved)) expect(host.run(['tar', '-tf', saved]).status, point).toBe(0);
    const again = host.minict(...verb.words);
    if (again.status !== 0) expect(again.stderr, point).toMatch(/image new exists already|image old: no such image/);
    if (verb.adds) {
      expect(this.content('new'), point).toBe('new');
      this.must('image', 'rm', 'new');
    }
    if (verb.removes) {
      expect(imageNames(host), point).toEqual([]);
      this.must('image', 'pull', `oci:${join(host.dir, 'layout')}:old`, 'old');
    }
    rmSync(saved, { force: true });
    const pruned = host.minict('system', 'prune');
    expect(pruned, point).toMatchObject({ status: 0, stderr: '' });
    expect(storeFiles(host), point).toEqual(before);
    expect(readdirSync(join(host.root, '.trash')), point).toEqual([]);
  }
}

/** A host with a lab on it, for all tests of a file. What is returned is filled before the first. */
export function useImageLab(): { readonly host: Host; readonly lab: ImageLab } {
  const now = {} as { host: Host; lab: ImageLab };
  beforeAll(async () => {
    now.host = await Host.create();
    now.lab = await ImageLab.create(now.host);
  });
  afterAll(async () => {
    await now.lab?.registry.stop();
    await now.host.destroy();
  });
  return now;
}
