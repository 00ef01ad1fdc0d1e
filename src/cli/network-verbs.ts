/** The other verbs of networks load as one chunk: each chunk of the executable, and what those share, costs its loader 0.1 ms and more. */
export { define as create } from './network-create.ts';
export { inspect, ls } from './network-look.ts';
export { define as reload } from './network-reload.ts';
export { prune, rm } from './network-remove.ts';
export { define as tap } from './tap.ts';
