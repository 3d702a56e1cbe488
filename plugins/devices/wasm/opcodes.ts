/** The opcodes of WebAssembly 1.0 and its SIMD proposal that programs are generated with, by the names of the specification. */
export const I32 = 0x7f;
export const F32 = 0x7d;
export const F64 = 0x7c;
export const V128 = 0x7b;

export const BLOCK = 0x02;
export const LOOP = 0x03;
export const END = 0x0b;
export const BR = 0x0c;
export const BR_IF = 0x0d;
export const SELECT = 0x1b;
export const LOCAL_GET = 0x20;
export const LOCAL_SET = 0x21;
export const LOCAL_TEE = 0x22;
/** The type of a block without a result. */
export const EMPTY = 0x40;

export const I32_LOAD = 0x28;
export const F32_LOAD = 0x2a;
export const F32_STORE = 0x38;
export const I32_CONST = 0x41;
export const F32_CONST = 0x43;
export const I32_EQZ = 0x45;
export const I32_LT_U = 0x49;
export const F32_NE = 0x5c;
export const I32_ADD = 0x6a;
export const I32_SUB = 0x6b;
export const I32_MUL = 0x6c;
export const I32_AND = 0x71;
export const I32_SHL = 0x74;
export const F32_ABS = 0x8b;
export const F32_SQRT = 0x91;
export const F32_ADD = 0x92;
export const F32_SUB = 0x93;
export const F32_MUL = 0x94;
export const F32_DIV = 0x95;
export const F32_MIN = 0x96;
export const F32_MAX = 0x97;
export const F32_COPYSIGN = 0x98;
export const F64_ADD = 0xa0;
export const F32_CONVERT_I32_S = 0xb2;
export const F64_PROMOTE_F32 = 0xbb;

/** Stands before each of the following, which are written as LEB128. */
export const SIMD = 0xfd;
export const V128_LOAD = 0x00;
export const V128_STORE = 0x0b;
export const F32X4_SPLAT = 0x13;
export const F32X4_EXTRACT_LANE = 0x1f;
export const F32X4_NE = 0x42;
export const V128_AND = 0x4e;
export const V128_OR = 0x50;
export const F32X4_ABS = 0xe0;
export const F32X4_SQRT = 0xe3;
export const F32X4_ADD = 0xe4;
export const F32X4_SUB = 0xe5;
export const F32X4_MUL = 0xe6;
export const F32X4_DIV = 0xe7;
export const F32X4_MIN = 0xe8;
export const F32X4_MAX = 0xe9;

/** Sections of a module, by their numbers. */
export const SECTION = { type: 1, import: 2, function: 3, export: 7, code: 10 } as const;
/** Kinds of what is imported or exported. */
export const KIND = { function: 0, memory: 2 } as const;
export const FUNCTION_TYPE = 0x60;
/** "\0asm" and the version. */
export const HEADER = [0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0] as const;
/** An alignment of 4 bytes, as its exponent. */
export const ALIGN_4 = 2;
