/** An image of a folder, and what is said of it. */
export interface Entry {
  readonly path: string;
  readonly caption: string;
  /** How often an epoch shows it; once by default. */
  readonly repeats?: number;
  /** Whether it is one of the class, and whether the model draws it before the first step. */
  readonly prior?: { readonly isDrawn: boolean };
}
