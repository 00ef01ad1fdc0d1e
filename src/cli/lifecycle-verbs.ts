/** The verbs of a container's life load as one chunk: each chunk of the executable costs its loader 0.1 ms and more. */
export * as create from './create.ts';
export * as exec from './exec.ts';
export * as restart from './restart.ts';
export * as rm from './rm.ts';
export * as run from './run.ts';
export * as start from './start.ts';
export * as stop from './stop.ts';
