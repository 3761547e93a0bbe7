import { suggestSymbols } from '../symbol-search.ts'

suggestSymbols()
