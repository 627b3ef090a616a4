// As much of the library's types as is used, so that types are checked without it.
declare module "web-vitals" {
  interface Metric {
    readonly name: string;
    /** In ms; of CLS a score. */
    readonly value: number;
    readonly rating: "good" | "needs-improvement" | "poor";
  }
  type Observe = (tell: (metric: Metric) => void) => void;
  export const onCLS: Observe;
  export const onFCP: Observe;
  export const onINP: Observe;
  export const onLCP: Observe;
  export const onTTFB: Observe;
}
