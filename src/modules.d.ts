/** Files that are embedded: an import gives their path. */
declare module "*.bpf.o" {
  const path: string;
  export default path;
}

declare module "*.wasm" {
  const path: string;
  export default path;
}
