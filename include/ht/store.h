/*
 * Devices, and stores: named tensors that outlive tapes and programs (weights, moments, running statistics,
 * counters). Data is dense and row-major. A store belongs to one thread at a time.
 */
#ifndef HT_STORE_H
#define HT_STORE_H

#include <ht/base.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ht_device ht_device;
typedef struct ht_store ht_store;

/**
 * Opens a device. name: "cpu", or "cpu:SET" for one of the instruction sets in the build that this machine runs: baseline,
 * v3 (AVX2), v4 (AVX-512); "cpu" takes the best. threads: of the CPU's pool; 0 takes what OpenMP offers.
 * NULL and a filled record if there is no such device (EDEVICE) or no memory (ENOMEM).
 */
ht_device *ht_device_open(const char *name, int32_t threads, ht_error *error);
/** Gives the device back. NULL is allowed. Stores and programs on it must be freed before. */
void ht_device_close(ht_device *device);
/** The name with what was chosen, "cpu:v4". Lent. */
const char *ht_device_name(const ht_device *device);
int32_t ht_device_threads(const ht_device *device);

/** What a tensor is: a parameter has a gradient and an optimiser, a buffer has neither. */
typedef enum ht_role { HT_PARAMETER = 1, HT_BUFFER } ht_role;

/** An empty store on the device; NULL without memory. The caller frees it. */
ht_store *ht_store_new(ht_device *device);
/** The device it was made on. Lent. */
ht_device *ht_store_device(const ht_store *store);
/** Frees the store. EINVALID, and nothing freed, while a program still reads it. NULL is allowed. */
ht_status ht_store_free(ht_store *store);

/**
 * Adds a tensor, zero-filled; its place in memory never moves. Returns its index, or -1 with a filled record:
 * EINVALID (a name that is empty, too long (255 bytes), taken, or not printable ASCII), ESHAPE, ENOMEM.
 */
int32_t ht_store_add(ht_store *store, const char *name, ht_dtype dtype, ht_shape shape, ht_role role, ht_error *error);
/** Index of a name, or -1. */
int32_t ht_store_find(const ht_store *store, const char *name);

/** Tensors in order of addition. All of these need 0 <= index < count. */
int32_t ht_store_count(const ht_store *store);
const char *ht_store_name(const ht_store *store, int32_t index);
ht_dtype ht_store_dtype(const ht_store *store, int32_t index);
ht_shape ht_store_shape(const ht_store *store, int32_t index);
ht_role ht_store_role(const ht_store *store, int32_t index);
/** The numbers themselves, row-major, lent until the store is freed. Host memory on the CPU. */
void *ht_store_data(const ht_store *store, int32_t index);

/** Copies count numbers in or out; EINVALID if the name is absent, ESHAPE if count is not the tensor's. */
ht_status ht_store_set(ht_store *store, const char *name, const void *numbers, int64_t count, ht_error *error);
ht_status ht_store_get(const ht_store *store, const char *name, void *numbers, int64_t count, ht_error *error);

/** A copy with real tensors converted to dtype (HT_F32 or HT_F64); integer tensors stay. You own the result. */
ht_store *ht_store_copy(const ht_store *store, ht_dtype dtype, ht_error *error);
/** Copies every value of `from` into `to`, by name; both must have the same tensors, types may differ. */
ht_status ht_store_assign(ht_store *to, const ht_store *from, ht_error *error);
/** 64-bit hash of names, types, shapes and bits: equal stores have equal hashes. */
uint64_t ht_store_hash(const ht_store *store);

/** One metadata entry of a file. */
typedef struct ht_metadata {
    const char *key, *value;
} ht_metadata;

/**
 * Writes a safetensors file (F32, F64, I32): temporary sibling, fsync, rename, fsync of the folder, so that the
 * path holds the old file or the whole new one, whatever happens. Roles are kept in the metadata.
 * EIO names the file and what the system said.
 */
ht_status ht_store_save(const ht_store *store, const char *path, const ht_metadata *metadata, int32_t metadata_count,
                        ht_error *error);
/**
 * Reads a safetensors file strictly into the store: tensors that exist must agree in type and shape, others are
 * added. Whole numbers of 64 bits (I64) are read as HT_I32; one that does not fit is EFORMAT. Either all are read or
 * the store is as before. EIO, EFORMAT (names the file, the tensor, what was
 * expected), ESHAPE, EDTYPE, ENOMEM.
 */
ht_status ht_store_load(ht_store *store, const char *path, ht_error *error);
/**
 * Reads a .npy file (NumPy, formats 1.0 to 3.0) strictly, as a new buffer: float64, float32 and int32 as they are, int64
 * and uint8 as HT_I32; little-endian, in C order. Returns its index, or -1 with a filled record and the store as before:
 * EINVALID (see ht_store_add), EIO, EFORMAT (names the file and what was expected), ENOMEM.
 *     ht_store_load_npy(tables, "data", "digits_data.npy", &error)
 */
int32_t ht_store_load_npy(ht_store *store, const char *name, const char *path, ht_error *error);
/**
 * Value of one metadata entry of a file, copied into value (bytes large); EINVALID if the key is absent.
 */
ht_status ht_file_metadata(const char *path, const char *key, char *value, size_t bytes, ht_error *error);

/**
 * Writes MANIFEST into a folder: one line "crc32 bytes name" for each of the named files in it (CRC-32 of zlib), and a
 * last one for MANIFEST itself, over the lines before it; durably, as ht_store_save does. Write it last: a folder
 * without a manifest that verifies is no checkpoint.
 */
ht_status ht_manifest_write(const char *folder, const char *const *names, int32_t count, ht_error *error);
/** Checks every line of MANIFEST. EFORMAT names the file that is damaged, EIO what cannot be read. */
ht_status ht_manifest_verify(const char *folder, ht_error *error);
/** Writes bytes to a path durably, through a temporary sibling, as ht_store_save does. */
ht_status ht_file_write(const char *path, const void *bytes, size_t count, ht_error *error);

#ifdef __cplusplus
}
#endif
#endif
