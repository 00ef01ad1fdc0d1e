/** The verbs of a container's files load as one chunk. */
export * as clone from './clone.ts';
export * as commit from './commit.ts';
export * as cp from './cp.ts';
export * as diff from './diff.ts';
export * as exportRoot from './export.ts';
export * as loadContainer from './load-container.ts';
export * as rebase from './rebase.ts';
export * as saveContainer from './save-container.ts';
export * as snapshot from './snapshot.ts';
