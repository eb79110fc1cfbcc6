//! What follows from a put secret: all keys that archiving needs.

use zeroize::{Zeroize, Zeroizing};

use super::derive::{
    BRICK_TOC_KEY, CHUNK_ID_KEY, INDEX_KEY, METADATA_ID_KEY, NOTE_KEY, NOTE_SIV_KEY, ONE_NOTE_KEY,
    ONE_ROOT_KEY, ROOT_KEY, ROOT_SIV_KEY, SIDECAR_KEY, STORE_KEY, TOC_KEY, TOC_SIV_KEY, derive,
};
use super::seal::{ContentKeys, Sealing, Unverified};
use super::secret::Secret;
use crate::error::Result;
use crate::id::{BrickName, ChunkHash, ChunkId, Epoch, Salt, Siv, StoreId};

/// The keys that follow from the put secret of one store and epoch, and the gear key,
/// which all stores of a key share (`formats/keys.md#secrets`).
#[derive(Clone)]
pub struct PutKeys {
    /// Makes chunk ids.
    pub chunk_id: ChunkIdKey,
    /// Makes chunk ids of class metadata.
    pub metadata_id: ChunkIdKey,
    /// Seals TOCs (`formats/brick.md#table-of-contents`).
    pub toc: SaltedKey,
    /// Binds sidecars to their bricks.
    pub sidecar: SidecarKey,
    /// Seals roots (`formats/store.md#roots`).
    pub root: SaltedKey,
    /// Seals notes (`formats/collection.md#notes`).
    pub note: SaltedKey,
    /// Makes the gear table.
    pub gear: GearKey,
    /// Authenticates indexes.
    pub index: IndexKey,
    /// Authenticates `store.toml`.
    pub store: StoreKey,
    /// The store that they serve.
    pub store_id: StoreId,
    /// The epoch of the put secret.
    pub epoch: Epoch,
}

impl PutKeys {
    /// The keys that follow from `put_secret`, and the gear key.
    pub(super) fn new(
        put_secret: &Secret,
        gear_key: Secret,
        store_id: StoreId,
        epoch: Epoch,
    ) -> Self {
        let key = |context| derive(context, &[put_secret.expose()]);
        let salted = |context, siv_context, one| SaltedKey {
            secret: key(context),
            siv_context,
            context: one,
        };
        Self {
            chunk_id: ChunkIdKey(key(CHUNK_ID_KEY)),
            metadata_id: ChunkIdKey(key(METADATA_ID_KEY)),
            toc: salted(TOC_KEY, TOC_SIV_KEY, BRICK_TOC_KEY),
            sidecar: SidecarKey(key(SIDECAR_KEY)),
            root: salted(ROOT_KEY, ROOT_SIV_KEY, ONE_ROOT_KEY),
            note: salted(NOTE_KEY, NOTE_SIV_KEY, ONE_NOTE_KEY),
            gear: GearKey(gear_key),
            index: IndexKey(key(INDEX_KEY)),
            store: StoreKey(key(STORE_KEY)),
            store_id,
            epoch,
        }
    }
}

/// Makes chunk ids of chunk hashes.
#[derive(Clone)]
pub struct ChunkIdKey(Secret);

impl ChunkIdKey {
    /// The id under which TOCs and catalog know the chunk with this hash
    /// (`formats/chunk.md#hash-and-id`).
    #[must_use]
    pub fn id(&self, hash: &ChunkHash) -> ChunkId {
        let keyed = blake3::keyed_hash(self.0.expose(), hash.as_bytes());
        let mut id = [0; ChunkId::SIZE];
        id.copy_from_slice(&keyed.as_bytes()[..ChunkId::SIZE]);
        ChunkId(id)
    }
}

/// Seals structures that have a salt each, by one rule (`formats/keys.md#seals`): TOCs,
/// roots, notes.
#[derive(Clone)]
pub struct SaltedKey {
    secret: Secret,
    siv_context: &'static str,
    context: &'static str,
}

impl SaltedKey {
    fn with_salt(&self, salt: Salt) -> ContentKeys {
        let input: [&[u8]; 2] = [self.secret.expose(), salt.as_bytes()];
        ContentKeys::new(self.siv_context, self.context, &input)
    }

    /// Begins to seal the content of the structure with this salt. The caller draws the
    /// salt for this one, and seals one content with it.
    pub(crate) fn begin<'a>(&self, salt: Salt, content: &'a mut [u8]) -> Sealing<'a> {
        self.with_salt(salt).begin(None, content)
    }

    /// Opens the sealed bytes of the structure with this salt.
    pub(crate) fn open<'a>(
        &self,
        salt: Salt,
        siv: Siv,
        header: &[u8],
        sealed: &'a mut [u8],
    ) -> Result<&'a mut [u8], Unverified> {
        self.with_salt(salt).open(None, siv, header, sealed)
    }
}

/// Binds sidecars to their bricks (`formats/brick.md#sidecar`).
#[derive(Clone)]
pub struct SidecarKey(Secret);

impl SidecarKey {
    /// The last 32 bytes of the sidecar of the brick `name`, whose TOC is `toc`.
    #[must_use]
    pub fn bind(&self, name: &BrickName, toc: &[u8]) -> [u8; 32] {
        self.keyed(name, toc).into()
    }

    /// Whether `found` are these bytes; in constant time.
    #[must_use]
    pub fn verify(&self, name: &BrickName, toc: &[u8], found: &[u8; 32]) -> bool {
        self.keyed(name, toc) == *found
    }

    fn keyed(&self, name: &BrickName, toc: &[u8]) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_keyed(self.0.expose());
        hasher.update(name.as_bytes()).update(toc);
        let hash = hasher.finalize();
        hasher.zeroize();
        hash
    }
}

/// Makes the gear table of the chunker (`formats/chunk.md#gear-table`).
#[derive(Clone)]
pub struct GearKey(Secret);

impl GearKey {
    /// The gear table: a secret as good as the key.
    #[must_use]
    pub fn table(&self) -> [u64; 256] {
        let mut bytes = Zeroizing::new([0; 2048]);
        let mut hasher = blake3::Hasher::new_keyed(self.0.expose());
        let mut output = hasher.update(b"gear v1").finalize_xof();
        output.fill(bytes.as_mut_slice());
        output.zeroize();
        hasher.zeroize();
        let mut table = [0; 256];
        for (entry, bytes) in table.iter_mut().zip(bytes.as_chunks().0) {
            *entry = u64::from_le_bytes(*bytes);
        }
        table
    }
}

/// Authenticates indexes (`formats/index.md#trailer`).
#[derive(Clone)]
pub struct IndexKey(Secret);

impl IndexKey {
    /// A hasher for the seal of an index. It holds the key: wipe it after use.
    #[must_use]
    pub fn hasher(&self) -> blake3::Hasher {
        blake3::Hasher::new_keyed(self.0.expose())
    }
}

/// Authenticates `store.toml` (`formats/store.md#storetoml`).
#[derive(Clone)]
pub struct StoreKey(Secret);

impl StoreKey {
    /// Keyed BLAKE3 of `bytes`. To check one, use [`StoreKey::verify`].
    #[must_use]
    pub fn authenticate(&self, bytes: &[u8]) -> [u8; 32] {
        blake3::keyed_hash(self.0.expose(), bytes).into()
    }

    /// Whether `found` authenticates `bytes`; in constant time.
    #[must_use]
    pub fn verify(&self, bytes: &[u8], found: &[u8; 32]) -> bool {
        blake3::keyed_hash(self.0.expose(), bytes) == *found
    }
}
