const TURN_MS = 10;

/** Long work in turns: others have theirs in between. */
export class Turns {
  private began = performance.now();

  get isOver(): boolean {
    return performance.now() - this.began >= TURN_MS;
  }

  async rest(): Promise<void> {
    await new Promise(setImmediate);
    this.began = performance.now();
  }
}
