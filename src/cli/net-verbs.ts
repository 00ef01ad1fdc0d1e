/** The verbs of a container's network namespace load as one chunk. */
export * as capture from './capture.ts';
export * as net from './net.ts';
