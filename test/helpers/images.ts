/** The image store of a throwaway host, as its files are. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Host } from './host.ts';

function entries(dir: string): string[] {
  try {
    return readdirSync(dir).sort();
  } catch {
    return [];
  }
}

/** All that is in it: blobs, layers and what is being made. */
export function storeFiles(host: Host): string[] {
  const images = join(host.root, 'images');
  const below = ['blobs/sha256', 'layers'].flatMap((dir) => entries(join(images, dir)).map((name) => `${dir}/${name}`));
  const folders = ['blobs', 'layers', 'oci-layout', 'index.json'];
  return [...entries(images).filter((name) => !folders.includes(name)), ...below];
}

/** Directory of the top layer. */
export function imageTree(host: Host, name: string): string {
  const [image] = JSON.parse(host.minict('image', 'inspect', name).stdout) as { directories: string[] }[];
  return image?.directories[0] as string;
}

export function imageNames(host: Host): string[] {
  return host.minict('image', 'ls', '-q').stdout.split('\n').filter(Boolean);
}
